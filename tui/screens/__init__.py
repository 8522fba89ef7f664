"""One module a screen; see ``klamm.tui``."""
