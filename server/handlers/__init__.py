"""One file per group of APIs."""
