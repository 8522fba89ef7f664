"""Broker configs of the node itself: identity, listeners, limits, replication.

Types, defaults and ranges are Apache Kafka 4.3's, except where the documentation says klamm's. Keys marked
dynamic can change while the broker runs. Keys whose documentation says "Accepted" change nothing.
"""

from __future__ import annotations

from typing import Final

from klamm.model.configs import ConfigKey, ConfigType, UpdateMode

NODE_CONFIGS: Final = [
    ConfigKey(
        "acks.all.single",
        ConfigType.STRING,
        "flushed",
        "What acks=all waits for where this broker is the only in-sync replica: 'flushed' to disk, or "
        "'written' to the page cache, as Apache Kafka does. klamm's own key.",
        choices=("flushed", "written"),
    ),
    ConfigKey(
        "advertised.listeners",
        ConfigType.LIST,
        None,
        "The addresses that clients are told to connect to; by default those of listeners.",
    ),
    ConfigKey(
        "auto.create.topics.enable",
        ConfigType.BOOLEAN,
        "true",
        "Whether asking for a topic that does not exist creates it.",
    ),
    ConfigKey(
        "auto.leader.rebalance.enable",
        ConfigType.BOOLEAN,
        "true",
        "Whether leadership returns to preferred replicas by itself. Accepted.",
    ),
    ConfigKey(
        "background.threads",
        ConfigType.INT,
        "10",
        "Threads for background work. Accepted: the disk dispatcher has its own size.",
        minimum=1,
        update_mode=UpdateMode.DYNAMIC,
    ),
    ConfigKey("broker.id", ConfigType.INT, "-1", "An older name of node.id."),
    ConfigKey(
        "broker.rack",
        ConfigType.STRING,
        None,
        "Where this broker stands, for placing replicas and for reading from near ones.",
    ),
    ConfigKey(
        "broker.heartbeat.interval.ms",
        ConfigType.INT,
        "2000",
        "How often a broker tells the controller that it lives. Accepted: the controller is in the same process.",
    ),
    ConfigKey(
        "broker.session.timeout.ms",
        ConfigType.INT,
        "9000",
        "How long a broker may be silent before the controller fences it. "
        "Accepted: the controller is in the same process.",
    ),
    ConfigKey(
        "connections.max.idle.ms",
        ConfigType.LONG,
        "600000",
        "A connection that was silent for this long is closed; negative: never.",
    ),
    ConfigKey(
        "controller.listener.names",
        ConfigType.LIST,
        None,
        "Which of listeners are the controller's: those are not listened on, the controller is in the same process.",
    ),
    ConfigKey(
        "controller.quorum.bootstrap.servers",
        ConfigType.LIST,
        "",
        "Addresses of controllers. Accepted: the controller is in the same process.",
    ),
    ConfigKey(
        "controller.quorum.voters",
        ConfigType.LIST,
        "",
        "The controllers that vote. Accepted: the controller is in the same process.",
    ),
    ConfigKey(
        "default.replication.factor", ConfigType.INT, "1", "Replicas of a topic whose creator does not say.", minimum=1
    ),
    ConfigKey("delete.topic.enable", ConfigType.BOOLEAN, "true", "Whether topics can be deleted."),
    ConfigKey(
        "fetch.max.bytes",
        ConfigType.INT,
        "57671680",
        "The most bytes that one fetch response carries (one batch more, if it is the first).",
        minimum=1024,
    ),
    ConfigKey(
        "inter.broker.listener.name",
        ConfigType.STRING,
        None,
        "The listener that brokers use among themselves. Accepted: one broker is the cluster.",
    ),
    ConfigKey(
        "klamm.metrics.listen",
        ConfigType.STRING,
        "",
        "Where metrics are served for Prometheus, as host:port; empty: nowhere. klamm's own key.",
    ),
    ConfigKey(
        "klamm.telemetry.batches.per.second",
        ConfigType.INT,
        "100",
        "How many record batches a second are looked into for a sampled traceparent; 0: none. klamm's own key.",
        minimum=0,
        update_mode=UpdateMode.DYNAMIC,
    ),
    ConfigKey(
        "klamm.telemetry.enable",
        ConfigType.BOOLEAN,
        "true",
        "Whether the broker tells about itself: its own topics, metrics and traces. The embedded broker's default is "
        "false. klamm's own key.",
    ),
    ConfigKey(
        "klamm.telemetry.messages.per.second",
        ConfigType.INT,
        "20",
        "How many sampled messages a second are traced through the broker; 0: none. klamm's own key.",
        minimum=0,
        update_mode=UpdateMode.DYNAMIC,
    ),
    ConfigKey(
        "listener.security.protocol.map",
        ConfigType.STRING,
        "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
        "Which security protocol each listener speaks. Only PLAINTEXT is served.",
    ),
    ConfigKey(
        "listeners",
        ConfigType.LIST,
        "PLAINTEXT://127.0.0.1:9092",
        "Where to listen, as name://host:port. klamm's default is this machine only.",
    ),
    ConfigKey(
        "max.connections",
        ConfigType.INT,
        "2147483647",
        "The most connections at once.",
        minimum=0,
        update_mode=UpdateMode.DYNAMIC,
    ),
    ConfigKey(
        "max.connections.per.ip",
        ConfigType.INT,
        "2147483647",
        "The most connections at once from one address. Accepted: max.connections counts all addresses.",
        minimum=0,
        update_mode=UpdateMode.DYNAMIC,
    ),
    ConfigKey(
        "max.incremental.fetch.session.cache.slots",
        ConfigType.INT,
        "1000",
        "The most fetch sessions that are remembered.",
        minimum=0,
    ),
    ConfigKey(
        "max.request.partition.size.limit",
        ConfigType.INT,
        "2000",
        "The most partitions that one DescribeTopicPartitions response describes.",
        minimum=1,
    ),
    ConfigKey(
        "node.id",
        ConfigType.INT,
        "1",
        "This broker's number in the cluster. klamm's default is 1; Kafka has none.",
        minimum=0,
    ),
    ConfigKey(
        "num.io.threads",
        ConfigType.INT,
        "8",
        "Threads for requests. Accepted: requests are handled on one event loop.",
        minimum=1,
        update_mode=UpdateMode.DYNAMIC,
    ),
    ConfigKey(
        "num.network.threads",
        ConfigType.INT,
        "3",
        "Threads for the network. Accepted: sockets are handled on one event loop.",
        minimum=1,
        update_mode=UpdateMode.DYNAMIC,
    ),
    ConfigKey("num.partitions", ConfigType.INT, "1", "Partitions of a topic whose creator does not say.", minimum=1),
    ConfigKey(
        "num.recovery.threads.per.data.dir",
        ConfigType.INT,
        "2",
        "Threads that recover logs at the start. Accepted: the disk dispatcher has its own size.",
        minimum=1,
        update_mode=UpdateMode.DYNAMIC,
    ),
    ConfigKey(
        "num.replica.fetchers",
        ConfigType.INT,
        "1",
        "Connections over which replicas are fetched from each broker. Accepted: one broker is the cluster.",
        update_mode=UpdateMode.DYNAMIC,
    ),
    ConfigKey("process.roles", ConfigType.LIST, "broker,controller", "What this process is. klamm is both."),
    ConfigKey(
        "queued.max.request.bytes",
        ConfigType.LONG,
        "-1",
        "The most bytes of requests in flight over all connections; -1: no limit but those of each connection. "
        "Accepted: each connection has its own limit.",
    ),
    ConfigKey(
        "queued.max.requests",
        ConfigType.INT,
        "500",
        "Requests waiting for a thread. Accepted: each connection has its own limit.",
        minimum=1,
    ),
    ConfigKey(
        "replica.fetch.backoff.ms",
        ConfigType.INT,
        "1000",
        "How long a follower rests after a failed fetch. Accepted: one broker is the cluster.",
        minimum=0,
    ),
    ConfigKey(
        "replica.fetch.max.bytes",
        ConfigType.INT,
        "1048576",
        "Bytes of one partition that a follower asks for.",
        minimum=0,
    ),
    ConfigKey("replica.fetch.min.bytes", ConfigType.INT, "1", "The least bytes that a follower's fetch waits for."),
    ConfigKey(
        "replica.fetch.response.max.bytes",
        ConfigType.INT,
        "10485760",
        "Bytes of one response that a follower asks for.",
        minimum=0,
    ),
    ConfigKey("replica.fetch.wait.max.ms", ConfigType.INT, "500", "The longest that a follower's fetch waits."),
    ConfigKey(
        "replica.high.watermark.checkpoint.interval.ms",
        ConfigType.LONG,
        "5000",
        "How often high watermarks are noted on disk. Accepted: one broker is the cluster.",
    ),
    ConfigKey(
        "replica.lag.time.max.ms",
        ConfigType.LONG,
        "30000",
        "A follower that has not caught up for this long leaves the in-sync replicas. "
        "Accepted: one broker is the cluster.",
    ),
    ConfigKey("replica.selector.class", ConfigType.STRING, None, "How a consumer finds a near replica. Accepted."),
    ConfigKey(
        "request.timeout.ms",
        ConfigType.INT,
        "30000",
        "How long a request between brokers may take. Accepted: one broker is the cluster.",
    ),
    ConfigKey(
        "security.inter.broker.protocol",
        ConfigType.STRING,
        "PLAINTEXT",
        "Security protocol between brokers, if no listener is named for it. Accepted: one broker is the cluster.",
    ),
    ConfigKey(
        "socket.listen.backlog.size", ConfigType.INT, "50", "Connections that may wait to be accepted.", minimum=1
    ),
    ConfigKey(
        "socket.receive.buffer.bytes",
        ConfigType.INT,
        "102400",
        "Size of a socket's receive buffer; -1: the system's own. Accepted: it is the system's own.",
    ),
    ConfigKey(
        "socket.request.max.bytes",
        ConfigType.INT,
        "104857600",
        "The largest request; a larger one closes its connection.",
        minimum=1,
    ),
    ConfigKey(
        "socket.send.buffer.bytes",
        ConfigType.INT,
        "102400",
        "Size of a socket's send buffer; -1: the system's own. Accepted: it is the system's own.",
    ),
    ConfigKey(
        "telemetry.max.bytes",
        ConfigType.INT,
        "1048576",
        "The most bytes that a client may push of its own metrics at once (KIP-714).",
        minimum=1,
    ),
]
