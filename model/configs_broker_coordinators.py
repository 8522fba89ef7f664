"""Broker configs of groups, committed offsets, transactions and producers.

Types, defaults and ranges are Apache Kafka 4.3's, except where the documentation says klamm's. Keys marked
dynamic can change while the broker runs. Keys whose documentation says "Accepted" change nothing.
"""

from __future__ import annotations

from typing import Final

from klamm.model.configs import ConfigKey, ConfigType, UpdateMode
from klamm.model.configs_topic_keys import SEGMENT_BYTES_MIN

COORDINATORS_CONFIGS: Final = [
    ConfigKey(
        "group.consumer.assignment.interval.ms",
        ConfigType.INT,
        "1000",
        "The least time between two assignments of one consumer group.",
        minimum=0,
        update_mode=UpdateMode.DYNAMIC,
    ),
    ConfigKey(
        "group.consumer.assignors",
        ConfigType.LIST,
        "uniform,range",
        "Server-side assignors of consumer groups, the first being the default. Accepted: it is always both.",
    ),
    ConfigKey(
        "group.consumer.heartbeat.interval.ms",
        ConfigType.INT,
        "5000",
        "How often members of a consumer group are told to send heartbeats.",
        minimum=1,
    ),
    ConfigKey(
        "group.consumer.max.heartbeat.interval.ms",
        ConfigType.INT,
        "15000",
        "The largest consumer heartbeat interval that a group may set.",
        minimum=1,
    ),
    ConfigKey(
        "group.consumer.max.session.timeout.ms",
        ConfigType.INT,
        "60000",
        "The largest consumer session timeout that a group may set.",
        minimum=1,
    ),
    ConfigKey(
        "group.consumer.max.size", ConfigType.INT, "2147483647", "The most members of one consumer group.", minimum=1
    ),
    ConfigKey(
        "group.consumer.migration.policy",
        ConfigType.STRING,
        "bidirectional",
        "Whether groups may move between the classic and the consumer protocol.",
        choices=("disabled", "downgrade", "upgrade", "bidirectional"),
    ),
    ConfigKey(
        "group.consumer.min.heartbeat.interval.ms",
        ConfigType.INT,
        "5000",
        "The smallest consumer heartbeat interval that a group may set.",
        minimum=1,
    ),
    ConfigKey(
        "group.consumer.min.session.timeout.ms",
        ConfigType.INT,
        "45000",
        "The smallest consumer session timeout that a group may set.",
        minimum=1,
    ),
    ConfigKey(
        "group.consumer.session.timeout.ms",
        ConfigType.INT,
        "45000",
        "How long a member of a consumer group may be silent.",
        minimum=1,
    ),
    ConfigKey(
        "group.initial.rebalance.delay.ms",
        ConfigType.INT,
        "3000",
        "How long an empty classic group waits for more members before its first rebalance.",
        minimum=0,
    ),
    ConfigKey(
        "group.max.session.timeout.ms",
        ConfigType.INT,
        "1800000",
        "The largest session timeout that a classic member may ask for.",
    ),
    ConfigKey("group.max.size", ConfigType.INT, "2147483647", "The most members of one classic group.", minimum=1),
    ConfigKey(
        "group.min.session.timeout.ms",
        ConfigType.INT,
        "6000",
        "The smallest session timeout that a classic member may ask for.",
    ),
    ConfigKey(
        "offset.metadata.max.bytes",
        ConfigType.INT,
        "4096",
        "The longest metadata text that may come with a committed offset.",
    ),
    ConfigKey(
        "offsets.commit.timeout.ms",
        ConfigType.INT,
        "5000",
        "How long an offset commit may take to be replicated.",
        minimum=1,
    ),
    ConfigKey(
        "offsets.load.buffer.size",
        ConfigType.INT,
        "5242880",
        "Bytes read at once when a group coordinator loads. Accepted.",
        minimum=1,
    ),
    ConfigKey(
        "offsets.retention.check.interval.ms",
        ConfigType.LONG,
        "600000",
        "How often committed offsets are looked at for expiry.",
        minimum=1,
    ),
    ConfigKey(
        "offsets.retention.minutes",
        ConfigType.INT,
        "10080",
        "How long a group's offsets are kept after its last member has left.",
        minimum=1,
    ),
    ConfigKey(
        "offsets.topic.compression.codec",
        ConfigType.INT,
        "0",
        "Codec of __consumer_offsets, by its number. Accepted: it is never compressed.",
    ),
    ConfigKey("offsets.topic.num.partitions", ConfigType.INT, "50", "Partitions of __consumer_offsets.", minimum=1),
    ConfigKey(
        "offsets.topic.replication.factor",
        ConfigType.SHORT,
        "1",
        "Replicas of __consumer_offsets. klamm's default is 1; Kafka's is 3.",
        minimum=1,
    ),
    ConfigKey(
        "offsets.topic.segment.bytes",
        ConfigType.INT,
        "104857600",
        "Segment size of __consumer_offsets.",
        minimum=SEGMENT_BYTES_MIN,  # the topic's segment.bytes takes no less: it could never be created
    ),
    ConfigKey(
        "producer.id.expiration.ms",
        ConfigType.INT,
        "86400000",
        "How long an idempotent producer's state is kept after its last write.",
        minimum=1,
        update_mode=UpdateMode.DYNAMIC,
    ),
    ConfigKey(
        "transaction.max.timeout.ms",
        ConfigType.INT,
        "900000",
        "The longest transaction timeout that a producer may ask for. Accepted: there are no transactions.",
        minimum=1,
    ),
    ConfigKey(
        "transaction.state.log.min.isr",
        ConfigType.INT,
        "1",
        "min.insync.replicas of __transaction_state. klamm's default is 1; Kafka's is 2.",
        minimum=1,
    ),
    ConfigKey(
        "transaction.state.log.num.partitions", ConfigType.INT, "50", "Partitions of __transaction_state.", minimum=1
    ),
    ConfigKey(
        "transaction.state.log.replication.factor",
        ConfigType.SHORT,
        "1",
        "Replicas of __transaction_state. klamm's default is 1; Kafka's is 3.",
        minimum=1,
    ),
    ConfigKey(
        "transaction.state.log.segment.bytes",
        ConfigType.INT,
        "104857600",
        "Segment size of __transaction_state.",
        minimum=SEGMENT_BYTES_MIN,  # as above
    ),
    ConfigKey(
        "transactional.id.expiration.ms",
        ConfigType.INT,
        "604800000",
        "How long a transactional id is remembered after its last use. Accepted: there are no transactions.",
        minimum=1,
    ),
]
