"""klamm beside Apache Kafka on this machine: same client, in turn, as a table of ratios.

``run`` is the command. ``matrix`` lists the rows and ``measures``/``instance_measures`` say how each is taken;
``brokers`` starts and ends the two brokers, ``driver`` compiles and runs the C load driver in ``driver/``, ``table``
draws what came out. Linux only: CPU and memory are read from /proc.
"""
