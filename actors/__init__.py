"""The pykka runtime, and one thin actor per concept."""
