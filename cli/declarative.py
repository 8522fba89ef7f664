"""``klamm dump``, ``diff``, ``plan``, ``apply``: a cluster as a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from klamm.cli.guard import MODERATE, SEVERE, Plan, guard, tell_undo
from klamm.cli.output import Column, Item, Result
from klamm.cli.parser import UsageError
from klamm.cli.progress import Progress
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.cli.usage import EXIT_USAGE
from klamm.client.errors import ClientError
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.client.declared import Declared
    from klamm.client.journal import Entry
    from klamm.client.steps import Step

_FILE = Argument("file", "as `klamm dump` writes it; - reads standard input")
_PRUNE = Option(("--prune",), "also delete what the file does not name (of the sections it has)")
_DETAILED = Option(("--detailed-exitcode",), "exit code 3 if there is something to do")
_DIFFERENT = 3
_NOTE_EVERY = 10
"""Between two notes in the undo journal so many times what one takes: of a thousand steps that is some milliseconds."""
_STANDARD_INPUT = "(standard input)"
COLUMNS = (Column("", "sign"), Column("KIND", "kind"), Column("NAME", "name"), Column("DETAIL", "detail"))
_REQUESTS = ("Metadata", "DescribeConfigs", "DescribeAcls", "DescribeClientQuotas")
_RIGHTS = ("DESCRIBE and DESCRIBE_CONFIGS on what is compared",)


async def dump(run: Run) -> Result:
    """Write the cluster as a file."""
    from klamm.client.declared import write_declared
    from klamm.client.reconcile import current

    now = await current(run.cluster)
    for section, found in (("ACLs", now.acls), ("quotas", now.quotas)):
        if found is None:
            run.note(f"note: this cluster has no {section} to dump")
    if now.schemas is None:
        run.note("note: no schema registry is known, so there are no schemas in the dump")
    items: list[Item] = [topic._asdict() for topic in (now.topics or {}).values()]
    return Result(items, (), text=write_declared(now))


async def diff(run: Run) -> Result:
    """Compare a file, or another context, with the cluster; exit code 3 if they differ."""
    from klamm.client.cluster import Cluster
    from klamm.client.contexts import Layers, resolve
    from klamm.client.reconcile import current, steps_between

    path, other = run.values.text("file"), run.values.text("with")
    if (path is None) == (other is None):
        msg = "klamm diff takes a FILE or --with CONTEXT"
        raise UsageError(msg)
    if path is not None:
        wanted = _read(path).declared
        now = await current(run.cluster, wanted)
    else:
        now = await current(run.cluster)
        async with Cluster(resolve(Layers(context=other)).settings) as cluster:
            wanted = await current(cluster)
        if (now.schemas is None) != (wanted.schemas is None):
            run.note("note: only one of the two has a schema registry: schemas are not compared")
            wanted = wanted._replace(schemas=None)
    steps = steps_between(now, wanted, prune=True)
    return Result(_items(steps), COLUMNS, empty="no difference", exit_code=_DIFFERENT if steps else 0)


async def plan(run: Run) -> Result:
    """Show what applying a file would change; the broker checks it."""
    from klamm.client.reconcile import validate

    file, _, steps = await _steps(run)
    errors = await validate(run.cluster, steps)
    if errors:
        return _refused(file, steps, errors)
    detailed = _DIFFERENT if steps and run.values.flag("detailed_exitcode") else 0
    return Result(_items(steps), COLUMNS, empty="nothing to do", exit_code=detailed)


async def apply(run: Run) -> Result:
    """Make the cluster as a file says; all or, with a mistake or conflict, nothing."""
    from klamm.client.reconcile import apply_steps, validate

    file, now, steps = await _steps(run)
    path = file.path
    errors = await validate(run.cluster, steps)
    if errors:
        run.note("nothing was changed")
        return _refused(file, steps, errors)
    if not steps:
        return Result((), COLUMNS, empty="nothing to do")
    gone = [step.name for step in steps if step.kind == "topic" and step.sign == "-"]
    run.cluster.ensure_unprotected(gone)
    removes = any(step.sign == "-" for step in steps)
    cannot = f"the records of {', '.join(gone)}" if gone else ""
    lines = [f"{step.sign} {step.kind} {step.name} {step.detail}".rstrip() for step in steps]
    if gone:
        from klamm.client.blast import blast_radius
        from klamm.client.topics import find_topics

        metadata, topics, _ = await find_topics(run.cluster, gone)
        lines += [each.text() for each in await blast_radius(run.cluster, metadata, topics)]
    go = await guard(run, Plan(f"apply {path}", SEVERE if removes else MODERATE, path, lines, cannot))
    detailed = _DIFFERENT if run.values.flag("detailed_exitcode") else 0
    if not go:
        return Result(_items(steps), COLUMNS, exit_code=detailed)
    kept = _Kept(run, path, now, await run.cluster.cluster_id())
    with Progress(run, f"applying {path}", len(steps)) as bar:

        def progressed(done: list[Step], failed: int) -> None:
            bar.at(len(done) + failed)
            kept.note(done)

        try:
            done, failed = await apply_steps(run.cluster, steps, progressed)
        finally:
            kept.end()
    return Result(
        [item | {"done": step in done} for item, step in zip(_items(steps), steps, strict=True)],
        (*COLUMNS, Column("DONE", "done")),
        failed,
    )


class _Kept:
    """The undo journal's entry of one ``apply``, of what is done by now: whatever ends that, it can be taken back."""

    def __init__(self, run: Run, path: str, now: Declared, cluster_id: str | None) -> None:
        self._run = run
        self._path = path
        self._now = now
        self._cluster_id = cluster_id
        self._entry: Entry | None = None
        self._done: list[Step] = []
        self._due_s = 0.0
        self._fails = False

    def note(self, done: list[Step]) -> None:
        """Write what is done; of very many steps now and then, so that a tenth of the time goes into it."""
        self._done = done
        began_s = time.monotonic()
        if began_s >= self._due_s:
            self._write()
            now_s = time.monotonic()
            self._due_s = now_s + _NOTE_EVERY * (now_s - began_s)

    def end(self) -> None:
        """Write the last word, and say how to take it back."""
        self._write()
        if self._entry is not None:
            tell_undo(self._run, self._entry)

    def _write(self) -> None:
        from klamm.client import journal
        from klamm.client.reconcile import inverse_of

        if not self._done:
            return
        inverse, lost = inverse_of(self._run.cluster, self._done, self._now)
        summary = f"applied {self._path}: {counted(len(self._done), 'change')}"
        try:
            if self._entry is None:
                context = self._run.cluster.settings.context
                self._entry = journal.write(self._run.line, summary, context, self._cluster_id, inverse, lost)
            else:
                self._entry = self._entry._replace(summary=summary, inverse=inverse, cannot=lost)
                journal.rewrite(self._entry)
        except OSError as error:
            if not self._fails:
                self._run.note(f"warning: the undo journal cannot be written: {error}")
            self._fails = True


class _File(NamedTuple):
    """A declarative file: the path of the line, its text, and what it says."""

    path: str
    text: str
    declared: Declared

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return _STANDARD_INPUT if self.path == "-" else self.path


async def _steps(run: Run) -> tuple[_File, Declared, list[Step]]:
    from klamm.cli.config_keys import doubt_keys
    from klamm.client.reconcile import current, steps_between
    from klamm.client.reconcile_schemas import with_versions

    file = _read(run.values.required("file"))
    now = await current(run.cluster, file.declared)
    doubt_keys(run, "broker", file.declared.brokers or {})
    steps = steps_between(now, file.declared, prune=run.values.flag("prune"))
    return file, now, await with_versions(run.cluster, steps)


def _read(path: str) -> _File:
    from klamm.client.declared import file_text, read_declared

    text = sys.stdin.read() if path == "-" else file_text(path)
    return _File(path, text, read_declared(_STANDARD_INPUT if path == "-" else path, text))


def _refused(file: _File, steps: list[Step], errors: Sequence[ClientError]) -> Result:
    """Return what would be done and why the broker, or a conflict, does not let it; a config that is none is usage."""
    for error in errors:
        _place(file, error)
    mistaken = all(error.names_nothing for error in errors)
    return Result(_items(steps), COLUMNS, errors, exit_code=EXIT_USAGE if mistaken else 0)


def _place(file: _File, error: ClientError) -> None:
    """Say which line of the file a refusal is about, and what may have been meant there."""
    from klamm.cli.config_keys import explain_keys
    from klamm.client.declared import line_of

    name = error.name or ""
    topic = (file.declared.topics or {}).get(name)
    kind, where, configs = "broker", ["brokers"], file.declared.brokers or {}
    if topic is not None:
        kind, where, configs = "topic", ["topics", name], topic.configs
    elif name:
        kind, where, configs = "schema", ["schemas", name], {}
    key = next((key for key in sorted(configs, key=len, reverse=True) if key in error.message), None)
    if key is not None:
        where += ["configs", key] if topic is not None else [key]
    elif topic is not None and error.code == "CONFLICT":
        where.append(error.message.split()[0])
    line = line_of(file.text, *where)
    explain_keys(error, kind, configs)
    if line is not None:
        error.message = f"{file.name}:{line}: {error.message}"


def _items(steps: list[Step]) -> list[Item]:
    return [{"name": step.name, "sign": step.sign, "kind": step.kind, "detail": step.detail} for step in steps]


DUMP = Command(
    "dump",
    "Write the cluster's topics, configs, ACLs, quotas and schemas as a file",
    dump,
    "Dump",
    (),
    (),
    (Example("klamm dump > cluster.yaml", "internal topics are left out"),),
    _REQUESTS,
    _RIGHTS,
    details="Schemas are those of the context's registry: of each subject the latest version and its own level.",
)
DIFF = Command(
    "diff",
    "Compare a file, or another context, with the cluster (exit code 3 if they differ)",
    diff,
    "Diff",
    (Argument("file", "as `klamm dump` writes it; - reads standard input", required=False),),
    (Option(("--with",), "another context instead of a file", "CONTEXT"),),
    (
        Example("klamm diff cluster.yaml", "what the file has and the cluster has not, and the reverse"),
        Example("klamm diff -c staging --with prod", "what staging lacks (+) and has beyond (-) prod"),
    ),
    _REQUESTS,
    _RIGHTS,
)
PLAN = Command(
    "plan",
    "Show what applying a file would change",
    plan,
    "Plan",
    (_FILE,),
    (_PRUNE, _DETAILED),
    (
        Example("klamm plan cluster.yaml", "additive"),
        Example("klamm plan cluster.yaml --prune", "with every object that would go"),
    ),
    (*_REQUESTS, "CreateTopics", "IncrementalAlterConfigs"),
    (*_RIGHTS, "those of apply"),
)
APPLY = Command(
    "apply",
    "Make the cluster as a file says; deletes nothing without --prune",
    apply,
    "Apply",
    (_FILE,),
    (_PRUNE, _DETAILED),
    (
        Example("klamm apply cluster.yaml --yes", "additive, in a script"),
        Example("klamm apply cluster.yaml --prune --confirm cluster.yaml", "delete what it does not name, too"),
    ),
    (
        *_REQUESTS,
        "CreateTopics",
        "CreatePartitions",
        "IncrementalAlterConfigs",
        "CreateAcls",
        "AlterClientQuotas",
        "DeleteTopics",
        "DeleteAcls",
    ),
    ("CREATE, ALTER, ALTER_CONFIGS, DELETE on what changes",),
    level=2,
    details="With a mistake or conflict nothing is applied. What deletes is severe: --confirm takes the file's name.\n"
    "Schemas go to the context's registry: a schema that is not the subject's latest becomes a new version.",
)
COMMANDS = (DUMP, DIFF, PLAN, APPLY)
