"""The commands: words in, operations of `klamm.client` called, results printed. What is decided here is how it looks.

A line goes through `main.py` (which noun) → `parser.py` (values, as `spec.py` declares them) → `run.py` (settings,
deadline, exit code) → the command's function → `output.py`. A noun's module ends with `COMMANDS`, its declarations:
help, completion, docs/cli.md and the tests read those.

**What every command goes through**

| file | owns |
|---|---|
| `main.py`, `spec.py`, `parser.py`, `checks.py`, `usage.py` | a line's words, and how a mistake in them is told |
| `run.py`, `termination.py` | one command carried out, its exit code; SIGTERM |
| `guard.py` | plan, question, undo journal, at a prompt |
| `output.py`, `selection.py`, `fields.py`, `jsonpath.py` | results: forms, which items and columns, jsonpath |
| `pager.py`, `progress.py` | the terminal: long output, long work |
| `names.py`, `topic_names.py`, `group_names.py`, `lag_names.py` | which topics, groups, … a line means |
| `help.py`, `completion.py`, `docs.py`, `transcripts.py` | help, completion, docs/cli.md |

**Nouns** (what a noun has beyond one module bears its name)

| noun | files |
|---|---|
| topic, partition | `topic*.py`, `copying.py` (cp, clone), `partition.py` |
| message, consume, produce, dlq | `message*.py`; `resend.py`, `redrive.py` (dlq) |
| group, lag | `group*.py`, `lag*.py` |
| trace | `trace*.py` |
| config, acl, user, quota, txn | `config.py`, `config_keys.py`, `acl.py`, `user.py`, `quota.py`, `txn.py` |
| cluster, broker, actor, client, doctor | `cluster.py`, `broker.py`, `actor.py`, `client.py`, `doctor.py` |
| schema | `schema*.py` |
| context, undo | `context.py`, `undo.py` |
| dump, diff, plan, apply; record | `declarative.py`; `record.py` |
| serve, segment | `serve.py`, `serve_app.py`, `segment.py`: the only ones that load the broker |
| ui, web, demo | `ui.py`, `web.py`, `demo.py`, `demo_load.py` |
"""
