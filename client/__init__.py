"""An async Kafka client, shared by the command line and the brokers."""
