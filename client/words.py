"""English of counts, for both faces."""


def counted(count: int, noun: str) -> str:
    """Return ``1 broker``, ``2 brokers``, ``1,204 records``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
