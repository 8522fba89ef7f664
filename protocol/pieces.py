"""What a response is made of: bytes, and things that send themselves."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from klamm.protocol.varint import Buffer


@runtime_checkable
class Sendable(Protocol):
    """Bytes that need not be in this process to be sent: a range of a file."""

    def __len__(self) -> int:
        """Return the number of bytes."""
        ...

    def send(self, descriptor: int, start: int) -> int:
        """Send what comes after the first ``start`` bytes to a socket; return how many bytes it took.

        Raises:
            BlockingIOError: The socket is full.
            OSError: The connection broke, or the disk refused.
        """
        ...

    def read(self, start: int = 0) -> Buffer:
        """Return what comes after the first ``start`` bytes. May wait for the disk.

        Raises:
            OSError: The disk refused.
        """
        ...


Piece = Buffer | Sendable
