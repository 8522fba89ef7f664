"""Loaders: from a cluster to the rows of a screen, without Textual. They run on the session's thread.

| module | loads |
|---|---|
| ``home`` | what is wrong right now, and figures of the whole cluster |
| ``topics``, ``slow_topics``, ``topic`` | all topics; what of them is looked at seldom; one |
| ``groups``, ``group`` | the lag board; one group |
| ``brokers``, ``broker``, ``cluster``, ``moving`` | brokers; one; quorum and features; how far moves are |
| ``messages``, ``live``, ``record_lines`` | a search that goes on while somebody looks; its base; one record as lines |
| ``trace`` | one message's life |
| ``security``, ``transactions`` | ACLs, users, quotas; transactional ids |
| ``state`` | actors, clients and segments of klamm brokers |
| ``diff`` | topics, groups or brokers side by side |
| ``names``, ``rights`` | what there is by name, for the palette; what cannot be seen for want of rights |
"""
