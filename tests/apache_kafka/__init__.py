"""Apache Kafka itself, got from Maven and run here, so that klamm can be held against it.

``jars`` has Maven collect the jars, ``node`` runs one broker, ``cluster`` three, ``tools`` Kafka's command-line tools.
Needs Java 17 and Maven; ``jars.why_unavailable`` says what is missing.
"""
