"""klamm beside Apache Kafka on this machine: same client, in turn, as a table of ratios.

``run`` is the command (``command`` what it does). ``matrix`` lists the rows, ``rows`` says what a row is,
``measures``, ``instance_measures``, ``group_measures`` and ``compaction_measures`` how samples are taken; ``brokers``
starts and ends the two brokers, ``driver_process`` compiles and runs the C load driver in ``driver/`` on ``batches``,
``group_wire`` is members over bare sockets; ``intervals``, ``noise`` and ``table`` say what came out, and how surely.

Commands of their own: ``actors``, ``cli_start``, ``group_load``, ``lag``, ``messages``, ``telemetry`` (with
``telemetry_receivers``, over ``telemetry_wire``), ``tui`` and ``tui_leak`` measure what their names say; ``profiling``
says where time goes. Linux only: CPU and memory are read from /proc.
"""
