"""The actor runtime: mailboxes, drains, dispatchers, futures, supervision."""
