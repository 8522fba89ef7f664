"""Whole nodes in virtual time, from a seed: ``python -m tests.simulation.run_seeds`` runs many.

``scenarios.py`` lists what there is; each scenario is a function of a :class:`klamm.actors.simulation.Simulation` that
raises when an invariant of Kafka's does not hold.
"""
