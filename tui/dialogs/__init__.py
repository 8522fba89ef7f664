"""Changes to a cluster: what is shown and asked before, and how each is made.

``change`` says what a change is: ``prepare`` looks at what it would do, ``apply`` makes it, ``make`` notes what takes
it back. ``screen`` is the one dialog, ``menu`` the lists that lead to it. The rest are the changes, by what they are
about:

| module | changes |
|---|---|
| ``topics``, ``cloning``, ``moves`` | topics: create, delete, trim, grow, one config; a clone; leaders and replicas |
| ``configs`` | all configs of a topic or broker, as a text one edits |
| ``groups`` | offsets: reset, copy, delete; groups and members |
| ``messages``, ``record_text`` | records: produce, send again; a record as a text one edits |
| ``access``, ``accounts`` | ACLs; users and quotas |
| ``together`` | one of these made to several objects |
| ``undo`` | the last change taken back, and made again |
"""
