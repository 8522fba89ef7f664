"""Every test of klamm: a folder per part; ``clients`` has real clients over the wire, ``support`` what all share."""
