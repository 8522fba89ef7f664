"""Subscriptions by regular expression (KIP-848), with RE2: one pattern can make Python's own ``re`` run for ever."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol, cast

from klamm.model.errors import ErrorCode, KafkaError

PATTERNS_MAX = 1_024
"""Compiled patterns kept; compiling one takes some 20 µs."""


class InvalidRegularExpressionError(KafkaError):
    """RE2 doesn't take it."""

    code = ErrorCode.INVALID_REGULAR_EXPRESSION


class _Pattern(Protocol):
    def fullmatch(self, text: str) -> object: ...


def resolve(regex: str, names: Iterable[str]) -> frozenset[str]:
    """Return the names that the whole expression matches.

    Raises:
        InvalidRegularExpressionError: It isn't a valid expression of RE2.
    """
    pattern = _compile(regex)
    return frozenset(name for name in names if pattern.fullmatch(name) is not None)


def matches(regex: str, text: str) -> bool:
    """Return whether the whole expression matches a text.

    Raises:
        InvalidRegularExpressionError: It isn't a valid expression of RE2.
    """
    return _compile(regex).fullmatch(text) is not None


def check_regex(regex: str) -> None:
    """Check an expression.

    Raises:
        InvalidRegularExpressionError: It isn't a valid expression of RE2.
    """
    _compile(regex)


@lru_cache(maxsize=PATTERNS_MAX)
def _compile(regex: str) -> _Pattern:
    import re2  # type: ignore[import-untyped]  # noqa: PLC0415 - no types published; few brokers need it

    options = re2.Options()
    options.log_errors = False  # the client is told; our standard error isn't the place
    try:
        return cast("_Pattern", re2.compile(regex, options))
    except re2.error as cause:
        reason = cause.args[0] if cause.args else cause
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        msg = f"SubscribedTopicRegex `{regex}` is not a valid regular expression: {text}."
        raise InvalidRegularExpressionError(msg) from cause
