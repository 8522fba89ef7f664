"""Bytes to messages and back: framing, headers, the API table, the codecs."""
