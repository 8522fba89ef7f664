"""``klamm context``: list, use, show, add, edit, test, import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from klamm.cli.checks import pair_of
from klamm.cli.output import Column, Item, Result
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client import contexts, property_names
from klamm.client.context_file import flattened, read_file, texts
from klamm.client.errors import ClientError, SettingsError
from klamm.client.secrets import is_reference, is_secret

_NAME = Argument("name", "context", completes="context")
_OPTIONAL = Argument("name", "context; the current one if not said", required=False, completes="context")
LIST_COLUMNS = (
    Column("NAME", "name"),
    Column("CURRENT", "current"),
    Column("BOOTSTRAP", "bootstrap"),
    Column("ENV", "env"),
    Column("READ-ONLY", "read_only"),
    Column("FILE", "file"),
)


async def list_contexts(_: Run) -> Result:
    """List contexts of the user's and the project's file."""
    files = contexts.read_files()
    current = os.environ.get("KLAMM_CONTEXT") or next(
        (f["current"] for _, f in reversed(files) if f.get("current")), None
    )
    items: list[Item] = []
    for path, found in files:
        for name, each in found.get("contexts", {}).items():
            items.append(
                {
                    "name": name,
                    "current": name == current,
                    "bootstrap": list(texts(each.get("bootstrap", ()))),
                    "env": each.get("env"),
                    "read_only": bool(each.get("read_only", False)),
                    "cluster_id": each.get("cluster_id"),
                    "file": str(path),
                }
            )
    return Result(
        items,
        LIST_COLUMNS,
        empty=f"no contexts in {contexts.user_file()}. Add one: klamm context add NAME -b HOST:PORT",
    )


async def use_context(run: Run) -> Result:
    """Make a context the current one."""
    name = run.values.required("name")
    contexts.resolve(contexts.Layers(context=name), {})
    document = _document(contexts.user_file())
    document["current"] = name
    _save(contexts.user_file(), document)
    project = contexts.project_file()
    if os.environ.get("KLAMM_CONTEXT") or (project and read_file(project).get("current")):
        run.note(f"note: {'KLAMM_CONTEXT' if os.environ.get('KLAMM_CONTEXT') else project} still wins over this")
    return Result([{"name": name, "current": True}], LIST_COLUMNS[:2])


async def show_context(run: Run) -> Result:
    """Show what is in effect, secrets hidden; with --origin where each comes from."""
    given = run.values.text("name") or run.values.text("context")
    layers = contexts.Layers(given, run.values.text("bootstrap"), run.values.texts("X"))
    resolved = contexts.resolve(layers)
    items: list[Item] = []
    for key, value in sorted(resolved.raw.items()):
        shown = "(hidden)" if is_secret(key) and not is_reference(value) else value
        used = property_names.used_by(key.removeprefix("kafka.")) if key.startswith("kafka.") else "klamm"
        items.append({"name": key, "value": shown, "origin": resolved.origins.get(key, "default"), "used_by": used})
        if is_secret(key) and not is_reference(value) and resolved.origins.get(key, "").endswith(".toml"):
            run.note(f"warning: {key} stands in the file as it is; better ${{env:…}}, ${{cmd:…}} or ${{keyring:…}}")
    if resolved.settings.context:
        name = resolved.settings.context
        items.insert(
            0, {"name": "context", "value": name, "origin": resolved.origins.get("context", ""), "used_by": "klamm"}
        )
    columns = [Column("NAME", "name"), Column("VALUE", "value")]
    if run.values.flag("origin"):
        columns += (Column("ORIGIN", "origin"), Column("USED BY", "used_by"))
    return Result(items, columns)


async def add_context(run: Run) -> Result:
    """Write a new context to the user's file."""
    name, bootstrap = run.values.required("name"), run.values.text("bootstrap")
    if bootstrap is None:
        msg = f"klamm context add {name} needs -b HOST:PORT"
        raise UsageError(msg)
    kafka = _properties(run)
    context: dict[str, Any] = {"bootstrap": [each.strip() for each in bootstrap.split(",")]}
    for key in ("cluster_id", "env"):
        if run.values.text(key):
            context[key] = run.values.text(key)
    if run.values.flag("read_only"):
        context["read_only"] = True
    if run.values.texts("protect"):
        context["protect"] = run.values.texts("protect")
    if kafka:
        context["kafka"] = kafka
    path = contexts.user_file()
    document = _document(path)
    _put(document, name, context, overwrite=run.values.flag("force"))
    if "current" not in document:
        document["current"] = name
    _save(path, document)
    return Result([{"name": name, "file": str(path)}], (Column("NAME", "name"), Column("FILE", "file")))


def _properties(run: Run) -> dict[str, str]:
    kafka: dict[str, str] = {}
    for pair in run.values.texts("X"):
        key, value = pair_of("-X", pair)
        property_names.check({key: "-X"})
        kafka[key] = value
        if is_secret(key) and not is_reference(value):
            run.note(f"warning: {key} goes into the file as it is, and is in your shell's history")
    return kafka


async def edit_contexts(run: Run) -> Result:
    """Open the user's file in $EDITOR and check it afterwards."""
    import asyncio
    import shlex
    import subprocess

    path = contexts.user_file()
    if not path.exists():
        _save(path, _document(path))
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with run.without_deadline():
        done = await asyncio.to_thread(subprocess.run, [*editor, str(path)], check=False)
    if done.returncode != 0:
        msg = f"{editor[0]} ended with {done.returncode}"
        raise SettingsError(msg, "set EDITOR")
    for name, context in read_file(path).get("contexts", {}).items():
        where = f"{path}: [contexts.{name}.kafka]"
        property_names.check({key: where for key, _ in flattened(context.get("kafka", {}))})
    return Result([{"name": str(path), "valid": True}], (Column("FILE", "name"), Column("VALID", "valid")))


async def test_context(run: Run) -> Result:
    """Connect to every broker of a context."""
    from klamm.client.cluster import Cluster

    layers = contexts.Layers(
        run.values.text("name") or run.values.text("context"), run.values.text("bootstrap"), run.values.texts("X")
    )
    resolved = contexts.resolve(layers)
    errors: list[ClientError] = []
    items: list[Item] = []
    async with Cluster(resolved.settings) as cluster:
        metadata = await cluster.metadata([])
        for broker in metadata.brokers:
            try:
                await cluster.broker(broker.broker_id)
            except ClientError as error:
                errors.append(error)
            else:
                items.append({"name": str(broker.broker_id), "host": broker.host, "port": broker.port, "ok": True})
        pinned = resolved.settings.cluster_id
        if pinned is not None and pinned != metadata.cluster_id:
            msg = f"the context is pinned to cluster {pinned}, and {metadata.cluster_id} answers"
            errors.append(ClientError("CLUSTER_ID_MISMATCH", msg, "klamm context edit"))
        run.note(f"cluster {metadata.cluster_id}")
    columns = (
        Column("BROKER", "name", right=True),
        Column("HOST", "host"),
        Column("PORT", "port", right=True),
        Column("OK", "ok"),
    )
    return Result(items, columns, errors)


async def import_contexts(run: Run) -> Result:
    """Take over the clusters of another tool's configuration."""
    from klamm.client.importers import TOOLS, default_path, read_contexts

    tool = run.values.required("tool")
    if tool not in TOOLS:
        from klamm.cli.parser import suggestion

        msg = f"klamm imports from {', '.join(TOOLS)}.{suggestion(tool, TOOLS)}"
        raise UsageError(msg)
    given = run.values.text("file")
    source = Path(given) if given else default_path(tool)
    if source is None:
        msg = f"no configuration of {tool} where it usually is"
        raise SettingsError(msg, f"klamm context import {tool} FILE")
    found = read_contexts(tool, source)
    for name, context in found.items():
        kafka = context.get("kafka", {})
        for key in [key for key in kafka if not property_names.is_known(key)]:
            del kafka[key]
            near = property_names.near_text(key)
            run.note(f"warning: {name}: {key} is left out, for no Kafka client has such a property.{near}")
    path = contexts.user_file()
    document = _document(path)
    for name, context in found.items():
        _put(document, name, context, overwrite=run.values.flag("force"))
    if "current" not in document:
        document["current"] = next(iter(found))
    _save(path, document)
    items = [
        {"name": name, "bootstrap": each.get("bootstrap", []), "from": str(source)} for name, each in found.items()
    ]
    return Result(items, (Column("NAME", "name"), Column("BOOTSTRAP", "bootstrap"), Column("FROM", "from")))


def _document(path: Path) -> Any:  # noqa: ANN401 (a tomlkit document)
    import tomlkit

    if not path.exists():
        return tomlkit.document()
    read_file(path)
    return tomlkit.parse(path.read_text())


def _put(document: Any, name: str, context: dict[str, Any], *, overwrite: bool) -> None:  # noqa: ANN401 (as above)
    import tomlkit

    if "contexts" not in document:
        document["contexts"] = tomlkit.table(is_super_table=True)
    if name in document["contexts"] and not overwrite:
        msg = f"there is a context {name!r} already"
        raise SettingsError(msg, "--force replaces it")
    document["contexts"][name] = context


def _save(path: Path, document: Any) -> None:  # noqa: ANN401 (as above)
    """Replace the file; only its owner may read it, for there may be secrets in it."""
    import tomlkit

    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.touch(mode=0o600)
    beside.write_text(tomlkit.dumps(document))
    beside.replace(path)


COMMANDS = (
    Command(
        "context list",
        "List contexts",
        list_contexts,
        "ContextList",
        (),
        (),
        (Example("klamm contexts", "of the user's file and the project's"),),
        local=True,
    ),
    Command(
        "context use",
        "Make a context the current one",
        use_context,
        "ContextList",
        (_NAME,),
        (),
        (Example("klamm context use prod", "until another is chosen"),),
        local=True,
    ),
    Command(
        "context show",
        "Show what is in effect, secrets hidden",
        show_context,
        "ContextSettings",
        (_OPTIONAL,),
        (Option(("--origin",), "which layer set each value, and who reads it"),),
        (Example("klamm context show --origin", "why klamm connects where it does"),),
        local=True,
    ),
    Command(
        "context add",
        "Remember a cluster",
        add_context,
        "ContextList",
        (Argument("name", "of the new context"),),
        (
            Option(("--cluster-id",), "refuse changes if another cluster answers", "ID"),
            Option(("--env",), "prod needs --write for every change", "NAME"),
            Option(("--read-only",), "never change anything"),
            Option(("--protect",), "topics that are never deleted", "GLOB", repeat=True),
            Option(("--force",), "replace a context of that name"),
        ),
        (
            Example("klamm context add local -b localhost:9092", "a broker on this machine"),
            Example(
                "klamm context add prod -b b1:9093 --env prod -X 'sasl.password=${env:KAFKA_PASSWORD}'",
                "with a secret that stays outside",
            ),
        ),
        local=True,
    ),
    Command(
        "context edit",
        "Edit the user's file and check it",
        edit_contexts,
        "ContextFile",
        (),
        (),
        (Example("klamm context edit", "in $EDITOR"),),
        local=True,
    ),
    Command(
        "context test",
        "Connect to every broker of a context",
        test_context,
        "ContextTest",
        (_OPTIONAL,),
        (),
        (Example("klamm context test prod", "each broker, and the cluster's id"),),
        ("Metadata",),
        (),
    ),
    Command(
        "context import",
        "Take over another tool's clusters",
        import_contexts,
        "ContextImport",
        (
            Argument("tool", "rpk, kafkactl, kaf, kcl, kcat, kaskade or properties"),
            Argument("file", "its configuration, if not where it usually is", required=False),
        ),
        (Option(("--force",), "replace contexts of the same names"),),
        (
            Example("klamm context import kafkactl", "every context"),
            Example("klamm context import properties client.properties", "a Java client's"),
        ),
        local=True,
    ),
)
