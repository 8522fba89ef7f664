"""What a follower makes of a leader's answer: the rows to append, checked as if a client had sent them."""

from __future__ import annotations

from collections.abc import Iterator

from klamm.actors.messages import FollowerAppend
from klamm.records.batch import check_batch, iter_batches
from klamm.storage.row import LogRow


def rows_to_append(message: FollowerAppend, log_end_offset: int) -> Iterator[LogRow]:
    """Yield a row for each batch at or above ``log_end_offset``: a leader's first batch may begin before it.

    Raises:
        KafkaError: A batch is damaged: it is never appended.
    """
    times, clients = message.append_times_us, message.client_ids
    for number, (position, header) in enumerate(iter_batches(message.records)):
        if header.base_offset < log_end_offset:
            continue
        check_batch(message.records, position, compacted=True)
        yield LogRow.of_batch(
            message.records[position : position + header.size],
            append_time_us=times[number] if number < len(times) else None,
            client_id=clients[number] if number < len(clients) else None,
        )
