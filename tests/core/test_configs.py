"""The config tables, their values, and which of several texts is in effect."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import klamm
from klamm.model.configs import (
    ConfigEntry,
    ConfigKey,
    ConfigLayers,
    ConfigSource,
    ConfigType,
    ConfigValue,
    entries,
    nearest,
)
from klamm.model.configs_broker import BrokerConfig
from klamm.model.configs_broker_keys import BROKER_CONFIGS
from klamm.model.configs_resource import CLIENT_METRICS_CONFIGS, GROUP_CONFIGS
from klamm.model.configs_topic import TopicSettings
from klamm.model.configs_topic_keys import TOPIC_CONFIGS
from klamm.model.configs_unused import KAFKA_KEYS_UNUSED
from klamm.model.errors import InvalidConfigError
from klamm.model.properties import parse_properties

PYTHON_TYPES = {
    ConfigType.BOOLEAN: "bool",
    ConfigType.STRING: "str",
    ConfigType.INT: "int",
    ConfigType.SHORT: "int",
    ConfigType.LONG: "int",
    ConfigType.DOUBLE: "float",
    ConfigType.LIST: "tuple[str, ...]",
}
USED_UNREAD = {"broker.id", "process.roles"}  # a synonym, and what klamm is anyway
NAMED_UNUSED = {"unclean.leader.election.enable"}  # set for internal topics as Kafka sets it
EVERY_KEY = [
    *TOPIC_CONFIGS.values(),
    *BROKER_CONFIGS.values(),
    *GROUP_CONFIGS.values(),
    *CLIENT_METRICS_CONFIGS.values(),
]


@pytest.mark.parametrize("key", EVERY_KEY, ids=lambda key: key.name)
def test_every_default_is_a_value_of_its_key(key: ConfigKey) -> None:
    if key.default is not None:
        key.parse(key.default)


@pytest.mark.parametrize("key", EVERY_KEY, ids=lambda key: key.name)
def test_every_key_says_what_it_means(key: ConfigKey) -> None:
    assert key.documentation.endswith(".")


def test_topic_settings_have_one_field_of_the_right_type_for_each_topic_config() -> None:
    expected = {name.replace(".", "_"): PYTHON_TYPES[key.type] for name, key in TOPIC_CONFIGS.items()}
    assert {field.name: field.type for field in fields(TopicSettings)} == expected


def test_each_field_of_the_broker_config_is_a_broker_config_of_that_type() -> None:
    for field in fields(BrokerConfig):
        if field.name in {"layers", "topic_defaults"}:
            continue
        key = BROKER_CONFIGS[field.name.replace("_", ".")]
        nullable = "" if key.default is not None else " | None"
        assert field.type == PYTHON_TYPES[key.type] + nullable, field.name


def test_every_broker_synonym_of_a_topic_config_is_a_broker_config() -> None:
    synonyms = {synonym.name for key in TOPIC_CONFIGS.values() for synonym in key.synonyms}
    assert synonyms <= set(BROKER_CONFIGS)


def test_a_topic_config_and_the_broker_config_that_sets_it_have_the_same_default() -> None:
    for key in TOPIC_CONFIGS.values():
        for synonym in key.synonyms[:1]:
            broker_default = BROKER_CONFIGS[synonym.name].default
            assert broker_default in {None, key.default}, key.name


def test_no_key_is_both_used_and_unused() -> None:
    assert not set(BROKER_CONFIGS) & KAFKA_KEYS_UNUSED


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("retention.ms", "-2", "Value must be at least -1"),
        ("retention.ms", "x", "Not a number of type LONG"),
        ("retention.ms", "", "Not a number of type LONG"),
        ("retention.ms", "1_000", "Not a number of type LONG"),
        ("retention.ms", "9223372036854775808", "Not a number of type LONG"),
        ("segment.bytes", "1048575", "Value must be at least 1048576"),
        ("segment.bytes", "2147483648", "Not a number of type INT"),
        ("compression.zstd.level", "23", "Value must be no more than 22"),
        ("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1"),
        ("min.cleanable.dirty.ratio", "1.1", "Value must be no more than 1"),
        ("preallocate", "1", "Expected value to be either true or false"),
        ("compression.type", "ZSTD", "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"),
        ("cleanup.policy", "delete,none", "String must be one of: compact, delete"),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_kafkas_words(name: str, text: str, reason: str) -> None:
    with pytest.raises(InvalidConfigError) as refusal:
        TOPIC_CONFIGS[name].parse(text)
    assert refusal.value.message.startswith("Invalid value ")
    assert refusal.value.message.endswith(f" for configuration {name}: {reason}")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("retention.ms", " -1 ", -1),
        ("preallocate", "TRUE", True),
        ("cleanup.policy", "compact, delete", ("compact", "delete")),
        ("cleanup.policy", "compact,compact", ("compact",)),
        ("cleanup.policy", "", ()),
        ("min.cleanable.dirty.ratio", "1e-1", 0.1),
        ("leader.replication.throttled.replicas", "*", ("*",)),
        ("leader.replication.throttled.replicas", "0:1,1:2", ("0:1", "1:2")),
        ("compression.gzip.level", "-1", -1),
        ("segment.bytes", "1048576", 1048576),
    ],
)
def test_a_text_means_what_it_means_in_kafka(name: str, text: str, value: ConfigValue) -> None:
    assert TOPIC_CONFIGS[name].parse(text) == value


def test_throttled_replicas_must_be_pairs() -> None:
    with pytest.raises(InvalidConfigError, match=r"must be the literal '\*' or a list of replicas"):
        TOPIC_CONFIGS["leader.replication.throttled.replicas"].parse("0:1,x")


def test_an_unknown_topic_config_is_refused_when_set_and_ignored_when_read_from_the_log() -> None:
    with pytest.raises(InvalidConfigError, match=r"Unknown topic config name: nope"):
        TopicSettings.build().check_overrides({"nope": "1"})
    assert TopicSettings.build({"nope": "1"}) == TopicSettings.build()


def test_contradicting_topic_configs_are_refused() -> None:
    with pytest.raises(InvalidConfigError, match=r"min.compaction.lag.ms \(10\) > max.compaction.lag.ms \(5\)"):
        TopicSettings.build().check_overrides({"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "5"})


def test_the_first_layer_that_has_a_value_wins() -> None:
    key = TOPIC_CONFIGS["retention.ms"]
    layers = ConfigLayers({"log.retention.ms": "2"}, {"log.retention.ms": "3"}, {"log.retention.hours": "4"})
    found = entries(key, {"retention.ms": "1"}, ConfigSource.DYNAMIC_TOPIC, layers)
    assert found == [
        ConfigEntry("retention.ms", "1", ConfigSource.DYNAMIC_TOPIC),
        ConfigEntry("log.retention.ms", "2", ConfigSource.DYNAMIC_BROKER),
        ConfigEntry("log.retention.ms", "3", ConfigSource.DYNAMIC_DEFAULT_BROKER),
        ConfigEntry("log.retention.hours", str(4 * 3_600_000), ConfigSource.STATIC_BROKER),
        ConfigEntry("log.retention.ms", "604800000", ConfigSource.DEFAULT),
    ]


@given(
    overrides=st.dictionaries(st.just("retention.ms"), st.sampled_from(["11", "12"])),
    dynamic=st.dictionaries(st.just("log.retention.ms"), st.sampled_from(["21", "-1"])),
    everyone=st.dictionaries(st.just("log.retention.ms"), st.sampled_from(["31"])),
    static=st.dictionaries(
        st.sampled_from(["log.retention.ms", "log.retention.minutes", "log.retention.hours"]),
        st.sampled_from(["41", "-1", "0"]),
    ),
)
def test_the_settings_are_the_value_that_is_described_first(
    overrides: dict[str, str], dynamic: dict[str, str], everyone: dict[str, str], static: dict[str, str]
) -> None:
    layers = ConfigLayers(dynamic, everyone, static)
    described = entries(TOPIC_CONFIGS["retention.ms"], overrides, ConfigSource.DYNAMIC_TOPIC, layers)
    settings = TopicSettings.build(overrides, layers)
    assert str(settings.retention_ms) == described[0].value
    assert TopicSettings.build(layers=layers).overridden(overrides) == settings


def test_no_limit_stays_no_limit_in_other_units() -> None:
    config, _ = BrokerConfig.from_properties({"log.retention.hours": "-1"})
    assert config.topic_settings().retention_ms == -1


def test_broker_id_is_another_name_of_node_id() -> None:
    assert BrokerConfig.from_properties({"broker.id": "7"})[0].node_id == 7
    assert BrokerConfig.from_properties({"broker.id": "7", "node.id": "8"})[0].node_id == 8


def test_a_broker_value_out_of_range_is_refused_with_key_value_and_range() -> None:
    with pytest.raises(
        InvalidConfigError, match=r"^Invalid value 0 for configuration num.partitions: Value must be at"
    ):
        BrokerConfig.from_properties({"num.partitions": "0"})
    with pytest.raises(InvalidConfigError, match=r"log.roll.hours: Value must be at least 1"):
        BrokerConfig.from_properties({"log.roll.hours": "0"})
    with pytest.raises(InvalidConfigError, match=r"offsets.topic.segment.bytes: Value must be at least 1048576"):
        BrokerConfig.from_properties({"offsets.topic.segment.bytes": "1048575"})


def test_a_misspelt_key_is_a_warning_that_names_the_nearest_one() -> None:
    _, warnings = BrokerConfig.from_properties({"num.partition": "3"})
    assert warnings == ["unknown config num.partition; did you mean num.partitions?"]


def test_a_key_that_only_apache_kafka_uses_is_not_taken_for_a_misspelling() -> None:
    _, warnings = BrokerConfig.from_properties(
        {"ssl.keystore.location": "x", "num.replica.alter.log.dirs.threads": "1"}
    )
    assert warnings == [
        "configs ssl.keystore.location, num.replica.alter.log.dirs.threads have no effect in klamm",
    ]


def test_a_key_that_klamm_takes_without_effect_is_told_of_once_it_is_set_to_something_else() -> None:
    _, warnings = BrokerConfig.from_properties({"max.connections.per.ip": "10", "num.io.threads": "8"})
    assert warnings == ["config max.connections.per.ip has no effect in klamm"]


def test_more_replicas_than_there_are_brokers_are_warned_of() -> None:
    [warning] = BrokerConfig.from_properties({"default.replication.factor": "3"})[1]
    assert "default.replication.factor=3, and one broker is the cluster" in warning
    assert BrokerConfig.from_properties({"default.replication.factor": "1"})[1] == []


def test_every_config_changes_something_or_says_that_it_does_not() -> None:
    sources = "".join(path.read_text() for path in modules_that_read_configs())
    read = set(re.findall(r"\.(\w+)", sources))
    named = set(re.findall(r'"([a-z.]+)"', sources)) - NAMED_UNUSED
    means = {synonym.name: key.name for key in TOPIC_CONFIGS.values() for synonym in key.synonyms}
    for key in {**TOPIC_CONFIGS, **BROKER_CONFIGS}.values():
        names = {key.name, means.get(key.name, key.name)}
        used = any(name in named or name.replace(".", "_") in read for name in names) or key.name in USED_UNREAD
        assert used is not key.unused, key.name


def modules_that_read_configs() -> list[Path]:
    package = Path(klamm.__file__).parent
    tables = {"configs_topic_keys.py", "configs_broker_node.py", "configs_broker_log.py"}
    folders = ("model", "core", "actors", "server")
    paths = [path for folder in folders for path in (package / folder).rglob("*.py")]
    return [path for path in paths if path.name not in tables | {"configs_broker_coordinators.py"}]


def test_what_is_like_nothing_has_no_nearest_key() -> None:
    assert nearest("qqqqqqqqqq", BROKER_CONFIGS) is None


def test_dynamic_configs_come_before_static_ones() -> None:
    config, _ = BrokerConfig.from_properties({"max.connections": "5", "message.max.bytes": "100"})
    changed = config.with_dynamic({"max.connections": "6"}, {"message.max.bytes": "200"})
    assert (config.max_connections, changed.max_connections) == (5, 6)
    assert changed.topic_settings().max_message_bytes == 200


def test_acks_all_single_is_flushed_unless_said_otherwise() -> None:
    assert BrokerConfig.from_properties({})[0].acks_all_single == "flushed"
    with pytest.raises(InvalidConfigError, match="String must be one of: flushed, written"):
        BrokerConfig.from_properties({"acks.all.single": "maybe"})


@pytest.mark.parametrize(
    ("text", "properties"),
    [
        ("a=1", {"a": "1"}),
        ("a = 1 ", {"a": "1 "}),
        ("a: 1", {"a": "1"}),
        ("a 1", {"a": "1"}),
        ("a", {"a": ""}),
        ("a=", {"a": ""}),
        ("# a=1\n! b=2\n\n  \t c=3", {"c": "3"}),
        ("a=1,\\\n   2,\\\r\n\t3", {"a": "1,2,3"}),
        ("a=1\\\\\nb=2", {"a": "1\\", "b": "2"}),
        ("a\\=b\\:c\\ d=e=f", {"a=b:c d": "e=f"}),
        ("a=\\t\\n\\u0041\\q", {"a": "\t\nAq"}),
        ("a=1\na=2", {"a": "2"}),
        ("a=1\\", {"a": "1"}),
        ("a=1\\\n# no comment", {"a": "1# no comment"}),
        ("path=C:\\\\data", {"path": "C:\\data"}),
        ("\ufeff", {"\ufeff": ""}),
        ("=x", {"": "x"}),
    ],
)
def test_properties_are_read_as_java_reads_them(text: str, properties: dict[str, str]) -> None:
    assert parse_properties(text) == properties


def test_a_malformed_unicode_escape_is_refused() -> None:
    with pytest.raises(InvalidConfigError, match="malformed"):
        parse_properties("a=\\u12")


@given(st.dictionaries(st.text("ab=:# !\\\n\tx\u00e9", min_size=1), st.text("ab=:# !\\\n\tx\u00e9")))
def test_what_is_escaped_is_read_back(properties: dict[str, str]) -> None:
    def escaped(text: str) -> str:
        return "".join(f"\\u{ord(character):04x}" if character in "=:#! \\\n\t" else character for character in text)

    text = "\n".join(f"{escaped(key)}={escaped(value)}" for key, value in properties.items())
    assert parse_properties(text) == properties


@given(st.text())
def test_any_text_is_properties_or_refused(text: str) -> None:
    try:
        parse_properties(text)
    except InvalidConfigError:
        assert "\\u" in text
