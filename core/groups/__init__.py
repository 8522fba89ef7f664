"""Group coordinators as pure state machines: an event and the time go in, records and replies come out.

- ``coordinator``: the whole of one partition of ``__consumer_offsets``; what the actor talks to
- ``classic_group``, ``classic``, ``classic_rebalance``: the classic protocol's state table, and its decisions
- ``consumer_group``, ``consumer``, ``consumer_requests``, ``targets``, ``reconcile``, ``assignors``, ``regex``: the
  consumer protocol (KIP-848)
- ``migration``: groups that move between the two
- ``offsets``: committed offsets
- ``views``: groups as admins see them
- ``messages``, ``config``, ``context``, ``deadlines``, ``embedded``: what they share
"""
