"""What a group coordinator decided, on its way into its log, and the answers that wait for it there.

All that a drain decided is one record batch, or more if it is too much for one. An answer leaves when all that was
appended before it is committed: one that changed nothing, too, since what it tells of might come to nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from klamm.actors.coordinator_log import CoordinatorLog, encode_batches
from klamm.model.errors import ErrorCode, KafkaError
from klamm.records.offsets_schema import GroupRecord

RESPONSE_ERRORS: Final = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.REQUEST_TIMED_OUT: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_LEADER_OR_FOLLOWER: ErrorCode.NOT_COORDINATOR,
    ErrorCode.KAFKA_STORAGE_ERROR: ErrorCode.NOT_COORDINATOR,
    ErrorCode.MESSAGE_TOO_LARGE: ErrorCode.UNKNOWN_SERVER_ERROR,
    ErrorCode.RECORD_LIST_TOO_LARGE: ErrorCode.UNKNOWN_SERVER_ERROR,
    ErrorCode.INVALID_FETCH_SIZE: ErrorCode.UNKNOWN_SERVER_ERROR,
}
"""What a client hears when an append failed (CoordinatorOperationExceptionHelper of Apache Kafka)."""

CoordinatorReply = Callable[[object], None]
"""Takes the answer, or the KafkaError that there is instead of one; called once."""


class AppendRefused(NamedTuple):
    """Told to the coordinator: one of its appends came to nothing, or was not committed in time."""

    number: int
    error: KafkaError


class _Answer(NamedTuple):
    reply: CoordinatorReply
    result: object


class _Waiting(NamedTuple):
    """An append that is not committed yet, and the answers that wait for it."""

    number: int
    answers: list[_Answer]


class CoordinatorAppends:
    """The appends of one coordinator. Used on its thread only.

    Args:
        log: Where they go.
        tell: Tells the coordinator :class:`AppendRefused`, from any thread; it may have ended.

    Attributes:
        records: What this drain decided so far.
    """

    __slots__ = ("_answers", "_log", "_number", "_tell", "_waiting", "records")

    def __init__(self, log: CoordinatorLog, tell: Callable[[AppendRefused], None]) -> None:
        self._log = log
        self._tell = tell
        self.records: list[GroupRecord] = []
        self._answers: list[_Answer] = []
        self._waiting: deque[_Waiting] = deque()
        self._number = 0

    @property
    def waiting(self) -> bool:
        """Whether an append is not committed yet."""
        return bool(self._waiting)

    def answer(self, reply: CoordinatorReply, result: object) -> None:
        """Have an answer leave once all that was decided until now is committed."""
        self._answers.append(_Answer(reply, result))

    def end_drain(self, now_ms: Callable[[], int]) -> None:
        """Append what the drain decided; let answers leave that wait for nothing."""
        answers = self._answers
        if self.records:
            self._answers = []
            self._append(answers, now_ms())
        elif answers:
            self._answers = []
            if self._waiting:
                self._waiting[-1].answers.extend(answers)
            else:
                _give(answers)

    def refused(self, message: AppendRefused) -> KafkaError | None:
        """Hear that an append was refused; return what everybody who waits is to be told.

        None: whoever waited for it has been told already. If it was written, and only not committed in time, what the
        coordinator knows is right and nobody else need hear of it.
        """
        number, error = message
        if not any(waiting.number == number for waiting in self._waiting):
            return None
        translated = KafkaError(error.message, code=RESPONSE_ERRORS.get(error.error_code, error.error_code))
        if error.error_code is not ErrorCode.REQUEST_TIMED_OUT:
            return translated
        while self._waiting and self._waiting[0].number <= number:
            _give([_Answer(reply, translated) for reply, _ in self._waiting.popleft().answers])
        return None

    def give_up(self, error: KafkaError) -> set[int]:
        """Forget what was decided and tell everybody who waits; return the ids of their replies."""
        self.records = []
        answers, self._answers = self._answers, []
        while self._waiting:
            answers += self._waiting.popleft().answers
        _give([_Answer(reply, error) for reply, _ in answers])
        return {id(reply) for reply, _ in answers}

    def _append(self, answers: list[_Answer], now_ms: int) -> None:
        records, self.records = self.records, []
        *full, last = encode_batches(records, now_ms)
        for batch in full:
            self._append_batch(batch, [])
        self._append_batch(last, answers)

    def _append_batch(self, batch: bytearray, answers: list[_Answer]) -> None:
        self._number += 1
        number = self._number
        self._waiting.append(_Waiting(number, answers))

        def answered(error: KafkaError | None) -> None:
            if error is None:
                self._committed(number)  # no message: a third drain for each commit
            else:
                self._tell(AppendRefused(number, error))

        self._log.append(batch, answered)

    def _committed(self, number: int) -> None:
        """Let the answers leave that waited for this append and those before it; after the end nobody waits."""
        while self._waiting and self._waiting[0].number <= number:
            _give(self._waiting.popleft().answers)


def _give(answers: list[_Answer]) -> None:
    for reply, result in answers:
        reply(result)
