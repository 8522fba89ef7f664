"""Real Kafka clients, and sockets that send what no client would, against ``klamm serve`` and against Apache Kafka."""
