"""The load driver's ready-made batches are ones that a broker must take."""

import pytest
from bench import batches

from klamm.records.batch import check_produced_batch
from klamm.records.record import decode_records


@pytest.mark.parametrize("codec", ["none", "gzip", "lz4", "zstd"])
@pytest.mark.parametrize("record_size", [100, 10_240])
def test_a_ready_made_batch_holds_whole_records_of_the_size_asked_for(codec: str, record_size: int) -> None:
    batch = batches.build(record_size, 65_536, codec)
    header = check_produced_batch(batch)
    records = decode_records(batch)
    assert header.record_count == len(records) == header.last_offset_delta + 1
    assert {len(record.value or b"") for record in records} == {record_size}


def test_a_batch_is_no_larger_than_asked_for_unless_one_record_is() -> None:
    assert len(batches.build(100, 16_384, "none")) <= 16_384
    assert check_produced_batch(batches.build(20_000, 16_384, "none")).record_count == 1
