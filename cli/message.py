"""``klamm message``: consume, produce, find, get, latest, export, import; and ``klamm consume``, ``klamm produce``.

The commands stand here, what they do in ``message_read.py``, ``message_get.py``, ``message_latest.py``,
``message_group.py``, ``message_write.py`` and ``message_files.py``: help and completion load none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from klamm.cli.resend import RESEND
from klamm.cli.spec import Argument, Command, Example, Option

if TYPE_CHECKING:
    from klamm.cli.output import Result
    from klamm.cli.run import Run


async def consume(run: Run) -> Result:
    """Print records as they come."""
    from klamm.cli import message_read

    return await message_read.consume(run)


async def find(run: Run) -> Result:
    """Find records."""
    from klamm.cli import message_read

    return await message_read.find(run)


async def get(run: Run) -> Result:
    """Show single records."""
    from klamm.cli import message_get

    return await message_get.get(run)


async def latest(run: Run) -> Result:
    """Show the latest record of each key."""
    from klamm.cli import message_latest

    return await message_latest.latest(run)


async def produce(run: Run) -> Result:
    """Send records."""
    from klamm.cli import message_write

    return await message_write.produce(run)


async def export(run: Run) -> Result:
    """Write records into a file."""
    from klamm.cli import message_files

    return await message_files.export(run)


async def import_records(run: Run) -> Result:
    """Send the records of a file."""
    from klamm.cli import message_files

    return await message_files.import_records(run)


_TOPIC = Argument("topic", "topic", completes="topic")
_FROM = Option(
    ("--from", "--offset"),
    "where to begin: start, end, 12345, +100, -100, -1h, @2026-11-23T10:00, 0=100,1=end; or a range @-30m..@now",
    "POSITION",
)
_UNTIL = Option(("--until",), "where to stop, exclusive: end, or any position; without it, follow the log", "POSITION")
_PARTITION = Option(("-p", "--partition"), "partitions to read", "N,…")
_WHERE = Option(
    ("--where",),
    "filter such as 'value.total > 100 and h.region == \"eu\"'; --filter is the same",
    "FILTER",
    repeat=True,
)
_KEY = Option(("-k", "--key"), "records with exactly this key", "KEY")
_HEADER = Option(("-H", "--header"), "records with this header; a name alone: any", "NAME=VALUE", repeat=True)
_ISOLATION = Option(
    ("--isolation",),
    "leave out records of aborted and open transactions",
    "LEVEL",
    default="read_uncommitted",
    choices=("read_uncommitted", "read_committed"),
)
_FORMAT = Option(("-f", "--format"), r"kcat's format: %t %p %o %k %s %h %T %S %K %R and \n \t \xNN", "TEXT")
_NULL = Option(("--null",), "what --format prints for a null key or value, instead of nothing", "TEXT")
_KEY_AS = Option(("--key-as",), "decode keys as text, json, hex, base64, msgpack, int, long, uuid, avro, …", "FORM")
_VALUE_AS = Option(("--value-as",), "decode values likewise; on a terminal auto", "FORM")
_DECODING = (
    _KEY_AS,
    _VALUE_AS,
    Option(("--key-schema",), "schema to decode keys with: .avsc, .json, or shop.proto:shop.Order", "FILE"),
    Option(("--value-schema",), "schema to decode values with", "FILE"),
    Option(("--registry",), "schema registry, instead of the context's", "URL"),
)
_LIMIT = Option(("-n",), "stop after so many, counted after the filter", "COUNT")
_COUNT = Option(("--count",), "print only how many there are")
_AS = Option(
    ("--as",), "jsonl, arrow or parquet, whatever the file's name", "FORM", choices=("jsonl", "arrow", "parquet")
)
_READ = ("Metadata", "ListOffsets", "Fetch")
_READ_ACLS = ("Describe and Read on the topic",)
_POSITIONS = (
    "What a time or a position means is told on standard error. Reading assigns partitions itself: it joins no group "
    "and commits nothing.\n"
    "-o jsonl loses nothing: klamm consume A -e -o jsonl | klamm produce B --input jsonl copies them with "
    "partitions, timestamps, headers and nulls."
)
_SEARCH = (
    "Filters: key, value, h.NAME, partition, offset, time, size; JSON paths as value.items[0].price or [*]; == != < <= "
    "> >=, = (glob), ~ (regular expression), contains; and, or, not, parentheses. `key=cust-*`, `h.region == eu`, "
    "`value.id == 7`, `time > @-1h`.\n"
    "A search ends with what was scanned, matched and left by partition; one that was stopped says the line that goes "
    "on with it."
)


def _consume(path: str) -> Command:
    line = f"klamm {path}"
    return Command(
        path,
        "Print records as they come",
        consume,
        "Records",
        (_TOPIC,),
        (
            _FROM, _UNTIL, Option(("-e", "--exit"), "stop at the end of the log, as --until end"), _LIMIT, _COUNT,
            _PARTITION, _WHERE, _KEY, _HEADER, _FORMAT, _NULL, *_DECODING, _ISOLATION,
            Option(("-g", "--group"), "join this consumer group, commit what was printed, and say so", "GROUP"),
            Option(("--write",), "with --group, in a context whose env is prod"),
            Option(("--text",), "records with this text in key, value or headers", "TEXT"),
        ),
        (
            Example(f"{line} orders", "values from the start on, and whatever comes"),
            Example(f"{line} orders --from -10 -e", "the last ten of each partition"),
            Example(f"{line} orders --from @-30m..@now -o jsonl", "half an hour, without loss, one JSON object a line"),
            Example(f"{line} orders --where 'value.total >= 100' -n 5", "five that match"),
            Example(f"{line} orders -f '%p@%o %k: %s\\n' -e", "in kcat's format"),
            Example(f"{line} orders -g billing -n 1", "as a member of a group; commits"),
        ),
        _READ,
        (*_READ_ACLS, "Read on the group, with --group"),
        details=_POSITIONS,
    )  # fmt: skip


def _produce(path: str) -> Command:
    line = f"klamm {path}"
    return Command(
        path,
        "Send records: from standard input, a file, a template, or one from the line",
        produce,
        "ProduceResult",
        (_TOPIC,),
        (
            Option(("--value",), "send this one value", "TEXT"),
            Option(("--file",), "read this file instead of standard input", "FILE"),
            Option(
                ("--input",),
                "what comes in: lines, jsonl, or the whole as one record",
                "FORM",
                choices=("lines", "jsonl", "whole"),
            ),
            Option(("-k", "--key"), "key of every record", "KEY"),
            Option(("-K", "--key-separator"), "what separates key and value in a line", "TEXT"),
            Option(("-H", "--header"), "header of every record", "NAME=VALUE", repeat=True),
            Option(("-p", "--partition"), "partition of every record, instead of the partitioner's", "N"),
            Option(("--timestamp",), "timestamp of every record: milliseconds, a time, or -1h", "TIME"),
            Option(("--tombstone",), "send a null value for --key"),
            Option(("-Z", "--empty-as-null"), "send empty values as null"),
            Option(("-D", "--delimiter"), r"what ends a record of lines; \n unless said", "TEXT"),
            Option(("--template",), "make records: {{i}} {{uuid}} {{now}} {{time}} {{random N}} {{pick A B}}", "TEXT"),
            Option(("--rate",), "records a second of a template: 100, 100/s, 5/m", "RATE"),
            Option(("--count",), "how many records of a template", "COUNT"),
            Option(("--create",), "create the topic if there is none"),
            Option(("--partitions",), "with --create: how many, instead of the broker's default", "COUNT"),
            Option(("--repartition",), "with --input jsonl: let keys say the partition, instead of the records"),
            Option(("--acks",), "all (default), 1 or 0", "ACKS", choices=("all", "-1", "1", "0")),
            Option(
                ("-z", "--compression"), "compress batches", "CODEC", choices=("none", "gzip", "snappy", "lz4", "zstd")
            ),
            Option(("--partitioner",), "where keys go; murmur2_random, as with Kafka's own clients", "NAME"),
        ),
        (
            Example(f"echo hello | {line} orders", "one record a line"),
            Example(f"{line} orders -K : --file keyed.txt", "keys and values, from a file"),
            Example(f"{line} orders --key cust-4 --tombstone --yes", "delete a key where the topic is compacted"),
            Example(f"{line} copy --input jsonl --file orders.jsonl", "what `klamm consume orders -e -o jsonl` wrote"),
            Example(f"{line} orders --template 'order {{{{i}}}}' --rate 100 --count 1000 --yes", "made-up records"),
        ),
        ("Metadata", "CreateTopics", "InitProducerId", "Produce"),
        ("Describe and Write on the topic", "Create on it (--create)"),
        level=1,
        details="A topic that does not exist is refused and never created, unless --create. What is piped is sent "
        "without a question; records cannot be taken back.\nA line of JSONL that is none ends it: what stood before is "
        "sent, nothing after it.",
    )  # fmt: skip


COMMANDS = (
    _consume("message consume"),
    _consume("consume"),
    _produce("message produce"),
    _produce("produce"),
    Command(
        "message find",
        "Find records, and prove what was looked at",
        find,
        "FoundRecords",
        (_TOPIC, Argument("text", "text in key, value or headers", required=False)),
        (
            _KEY,
            _HEADER,
            _WHERE,
            _FROM,
            _UNTIL,
            _LIMIT,
            _COUNT,
            _PARTITION,
            _FORMAT,
            _NULL,
            *_DECODING,
            _ISOLATION,
            Option(("-e", "--exit"), "stop at the end of the log: the default here"),
        ),
        (
            Example("klamm message find orders cust-9", "a text anywhere"),
            Example("klamm message find orders --key cust-9 -n 1", "the first record of a key"),
            Example("klamm message find orders -H trace-id=a12c --from -1h", "a header, in the last hour"),
            Example(
                "klamm message find orders --where 'value.total >= 100 and h.region == \"eu\"' -o jsonl", "a filter"
            ),
        ),
        _READ,
        _READ_ACLS,
        details=_SEARCH,
    ),
    Command(
        "message get",
        "Show single records whole",
        get,
        "Records",
        (Argument("places", "records as TOPIC:PARTITION@OFFSET", repeat=True),),
        (_FORMAT, _NULL, *_DECODING),
        (
            Example("klamm message get orders:0@42", "headers, key and value of one record"),
            Example("klamm message get orders:0@42 orders:1@7 -o jsonl", "two, without loss"),
        ),
        _READ,
        _READ_ACLS,
    ),
    RESEND,
    Command(
        "message latest",
        "Show the latest record of a key, or of every key",
        latest,
        "Records",
        (_TOPIC,),
        (
            _KEY,
            _FROM,
            _PARTITION,
            _FORMAT,
            _NULL,
            *_DECODING,
            _ISOLATION,
            _COUNT,
            Option(("--until",), "where to stop, exclusive", "POSITION"),
            Option(("--tombstones",), "show deleted keys too"),
            Option(("--all-partitions",), "with --key: also look where other partitioners may have put it"),
        ),
        (
            Example("klamm message latest prices --key EURUSD", "what a compacted topic holds of a key"),
            Example(
                "klamm message latest prices --key EURUSD --all-partitions", "whoever wrote it, with any partitioner"
            ),
            Example("klamm message latest prices -o jsonl", "the whole table, one record a key"),
        ),
        _READ,
        _READ_ACLS,
        details="With --key the partition in which Kafka's default partitioner (murmur2) puts it is read backwards, to "
        "the key's last record; all others where it is not there. What was not looked at is said.\n"
        "Without --key every record is read: the broker has no index by key. Memory grows with the number of keys.",
    ),
    Command(
        "message export",
        "Write records into a JSONL, Arrow or Parquet file",
        export,
        "Export",
        (_TOPIC,),
        (
            Option(("--to",), "file; its suffix says the form. Without it JSONL on standard output", "FILE"),
            _AS,
            Option(("--overwrite",), "replace a file that is there"),
            _FROM,
            Option(("--until",), "where to stop, exclusive; the end unless said", "POSITION"),
            _PARTITION,
            _WHERE,
            _KEY,
            _HEADER,
            _ISOLATION,
        ),
        (
            Example("klamm message export orders --to orders.parquet", "all that is there now, and its content hash"),
            Example("klamm message export orders --from -1h --to hour.jsonl", "an hour"),
        ),
        _READ,
        _READ_ACLS,
        details="The hash is over timestamps, keys, values and headers by partition, in order: after an import it is "
        "the same.",
    ),
    Command(
        "message import",
        "Send the records of a JSONL, Arrow or Parquet file",
        import_records,
        "Import",
        (Argument("file", "file that `klamm message export` wrote; - for JSONL on standard input"), _TOPIC),
        (
            _AS,
            Option(("--repartition",), "let keys say the partition, instead of the file"),
            Option(("--create",), "create the topic if there is none, with as many partitions as the file's topic had"),
            Option(("--partitions",), "with --create: how many, instead of what the file says", "COUNT"),
        ),
        (Example("klamm message import orders.parquet orders-copy --create --yes", "into a new topic, as they were"),),
        ("Metadata", "CreateTopics", "InitProducerId", "Produce"),
        ("Describe and Write on the topic", "Create on it (--create)"),
        level=1,
        details="Partitions, timestamps, headers and nulls are kept; offsets are the broker's to give.\n"
        "Arrow and Parquet files say how many partitions their topic had. JSONL does not: a topic that is created has "
        "as many as its records name, or the broker's default where they come by a pipe.",
    ),
)
