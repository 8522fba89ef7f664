"""Changes to a cluster: what is shown and asked before, and how each is made."""
