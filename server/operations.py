"""What a caller may do, as bit fields (KIP-430). Nobody is asked for credentials yet: all may do all."""

from __future__ import annotations

from typing import Final

_CREATE: Final = 1 << 5
_ALTER: Final = 1 << 7
_DESCRIBE: Final = 1 << 8
_DESCRIBE_CONFIGS: Final = 1 << 10
_ALTER_CONFIGS: Final = 1 << 11
_READ: Final = 1 << 3
_WRITE: Final = 1 << 4
_DELETE: Final = 1 << 6
_CLUSTER_ACTION: Final = 1 << 9
_IDEMPOTENT_WRITE: Final = 1 << 12

_COMMON: Final = _CREATE | _ALTER | _DESCRIBE | _DESCRIBE_CONFIGS | _ALTER_CONFIGS
TOPIC_OPERATIONS: Final = _COMMON | _READ | _WRITE | _DELETE
CLUSTER_OPERATIONS: Final = _COMMON | _CLUSTER_ACTION | _IDEMPOTENT_WRITE
NOT_ASKED_FOR: Final = -(2**31)
"""What stands where the request did not ask."""
