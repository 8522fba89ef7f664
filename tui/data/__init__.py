"""Loaders: from a cluster to the rows of a screen, without Textual."""
