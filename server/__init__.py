"""Listener, connections, one handler file per group of APIs, node assembly."""
