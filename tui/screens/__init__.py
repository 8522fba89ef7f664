"""One module a screen, or a few screens that are alike; ``klamm.tui`` says how one is added.

| module | screens |
|---|---|
| ``home`` | what needs attention first |
| ``topics``, ``topic`` | all topics; one |
| ``groups``, ``group`` | the lag board; one group |
| ``brokers``, ``broker``, ``cluster`` | all brokers; one; quorum, features, moves |
| ``configs`` | a panel of configs, which topic and broker have alike |
| ``messages``, ``message_prompts`` | one topic's messages; the lines one types in there |
| ``trace`` | one message's life |
| ``security``, ``transactions`` | ACLs, users, quotas; transactional ids |
| ``state`` | actors, clients, segments |
| ``diff`` | things side by side |
"""
