"""The verbs of ``klamm schema`` that change what is there: cp, delete, mode, compat."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from klamm.cli.guard import MILD, MODERATE, SEVERE, Plan, guard, record
from klamm.cli.names import names_or_all
from klamm.cli.output import Column, Item, Result
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.cli.schema_input import known_versions, no_subject, open_registry, ranges
from klamm.client.errors import ClientError
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.client.registry.registry import Registry


async def copy_schemas(run: Run) -> Result:
    """Copy subjects to another registry."""
    from klamm.client.cluster import Cluster
    from klamm.client.registry.copying import copy, plan_copy
    from klamm.client.registry.undoing import deleting

    source, target = open_registry(run), _target(run)
    changed = Cluster(target.settings)  # connects only if its context is pinned to a cluster
    known = await source.subjects()
    chosen, missing = names_or_all(run.values.texts("subjects"), known)
    errors: list[ClientError] = [no_subject(name, known) for name in missing]
    keep_ids = run.values.flag("keep_ids")
    steps, failed = await plan_copy(source, target, chosen, latest_only=run.values.flag("latest"))
    new = [step for step in steps if step.there is None]
    lines = [f"{step.subject} version {step.version} (id {step.schema.schema_id})" for step in new[:20]]
    lines += [f"… and {len(new) - 20:,} more"] if len(new) > 20 else []  # noqa: PLR2004 (lines of a plan)
    lines += [f"{len(steps) - len(new):,} versions are there already"] if len(steps) > len(new) else []
    lines += ["ids and versions stay as they are: subjects are in mode IMPORT meanwhile"] if keep_ids else []
    subjects = counted(len({each.subject for each in steps}), "subject")
    what = f"copy {counted(len(new), 'version')} of {subjects} to {target.place}"
    if new and not await guard(run, Plan(what, MILD, target.place, lines), changed):
        items = [
            _copy_item(each.subject, each.version, each.schema.schema_id, None, each.there, new=False) for each in steps
        ]
        return Result(items, _COPIED, [*errors, *failed])
    copied, refused = await copy(target, steps, keep_ids=keep_ids)
    schemas = {(step.subject, step.version): step.schema for step in steps}
    made = [(each.subject, schemas[each.subject, each.version]) for each in reversed(copied) if each.new]
    if made:
        summary = f"copied {counted(len(made), 'schema')} to {target.place}"
        inverse = [deleting(target, subject, schema) for subject, schema in made]
        await record(run, summary, inverse, cluster=changed, of_registry=True)
    changed.close()
    items = [
        _copy_item(each.subject, each.version, each.schema_id_from, each.schema_id, each.version_to, new=each.new)
        for each in copied
    ]
    return Result(items, _COPIED, [*errors, *failed, *refused], empty="there is nothing to copy")


_COPIED = (
    Column("SUBJECT", "name"),
    Column("VERSION", "version", right=True),
    Column("ID", "schema_id_from", right=True),
    Column("VERSION THERE", "version_to", right=True),
    Column("ID THERE", "schema_id", right=True),
    Column("COPIED", "copied"),
)


async def delete_schema(run: Run) -> Result:
    """Delete a subject or one version of it."""
    from klamm.client.registry.undoing import CANNOT_VERSIONS, registering

    registry = open_registry(run)
    subject, version = run.values.required("subject"), run.values.text("version")
    permanent = run.values.flag("permanent")
    versions = await known_versions(registry, subject, deleted=permanent)
    if version == "latest":
        version = str(versions[-1])
    if version is not None and version not in {str(each) for each in versions}:
        code, msg = "VERSION_NOT_FOUND", f"{subject} has no version {version}; it has {ranges(versions)}"
        raise ClientError(code, msg, f"klamm schema list {subject}", name=subject)
    chosen = versions if version is None else [int(version)]
    lines = [f"{registry.place}: {'version' if len(chosen) == 1 else 'versions'} {ranges(chosen)} of {subject}"]
    if not permanent:
        for each in chosen:
            used = await registry.referring(subject, each)
            if used:
                lines.append(f"version {each} is referred to by the schemas {', '.join(map(str, used))}")
    what = f"delete {subject}" + (f" version {version}" if version else "") + (" for good" if permanent else "")
    cannot = "records written with it cannot be decoded any more" if permanent else ""
    if not await guard(run, Plan(what, SEVERE if permanent else MODERATE, subject, lines, cannot)):
        return Result([{"name": subject, "version": each, "deleted": False} for each in chosen], _DELETED)
    before = [] if permanent else [await registry.schema(subject, each) for each in chosen]
    if version is None:
        done = await registry.delete_subject(subject, permanent=permanent)
    else:
        done = [await registry.delete_version(subject, version, permanent=permanent)]
    if not permanent:
        run.note("Records are still decoded with it.")
    inverse = [registering(registry, subject, each) for each in before]
    await record(run, what.replace("delete", "deleted", 1), inverse, cannot or CANNOT_VERSIONS, of_registry=True)
    items: list[Item] = [{"name": subject, "version": each, "deleted": True} for each in done]
    return Result(items, _DELETED)


_DELETED = (Column("SUBJECT", "name"), Column("VERSION", "version", right=True), Column("DELETED", "deleted"))


async def schema_mode(run: Run) -> Result:
    """Show or set the mode of the registry or of subjects."""
    registry = open_registry(run)
    return await _setting(run, registry, "mode", registry.mode, registry.set_mode)


async def schema_compat(run: Run) -> Result:
    """Show or set the compatibility level of the registry or of subjects."""
    registry = open_registry(run)
    return await _setting(run, registry, "compat", registry.level, registry.set_level)


async def _setting(
    run: Run,
    registry: Registry,
    verb: str,
    read: Callable[[str | None], Awaitable[tuple[str, bool]]],
    write: Callable[[str | None, str | None], Awaitable[None]],
) -> Result:
    from klamm.client.registry.undoing import LEVEL, MODE, setting

    wanted, unset = run.values.text("set"), run.values.flag("unset")
    names: list[str | None] = list(run.values.texts("subjects")) or [None]
    if wanted and unset:
        msg = "--set and --unset contradict each other"
        raise UsageError(msg)
    if unset and names == [None]:
        msg = "--unset takes a subject's own value away: name the subject"
        raise UsageError(msg)
    word = LEVEL if verb == "compat" else MODE
    before = [(name, *await read(name)) for name in names]
    known = [] if all(own for _, _, own in before) or names == [None] else await registry.subjects()
    new = {name for name, _, own in before if name is not None and not own and name not in known}
    if not wanted and not unset:
        shown = [_setting_item(*each, changed=False) for each in before if each[0] not in new]
        return Result(shown, _SETTING, [_no_setting(verb, name, known) for name in names if name and name in new])
    lines = [
        f"{name or 'the registry'}: {value}{'' if own else ' (of the registry)'} → {wanted or 'that of the registry'}"
        + ("; there is no such subject yet" if name in new else "")
        for name, value, own in before
    ]
    whole = names == [None]
    what = f"change the {word} of {'the whole registry' if whole else ', '.join(map(str, names))}"
    if not await guard(run, Plan(what, MODERATE if whole else MILD, registry.place if whole else str(names[0]), lines)):
        return Result([_setting_item(*each, changed=False) for each in before], _SETTING)
    inverse: list[dict[str, Any]] = []
    try:
        for name, value, own in before:
            await write(name, wanted)
            inverse.append(setting(registry, word, name, value if own or name is None else None))
    finally:
        if inverse:
            await record(run, what.replace("change", "changed", 1), inverse, of_registry=True)
    after = [(name, *await read(name)) for name in names]
    return Result([_setting_item(*each, changed=True) for each in after], _SETTING)


_SETTING = (Column("SUBJECT", "name"), Column("VALUE", "value"), Column("ITS OWN", "own"), Column("CHANGED", "changed"))


def _no_setting(verb: str, name: str, known: Sequence[str]) -> ClientError:
    """Return the error for a subject that is not there, which may be a value whose --set was left out."""
    error = no_subject(name, known)
    if name.isupper():
        error.next_step = f"klamm schema list; to set it: klamm schema {verb} SUBJECT --set {name}"
    return error


def _setting_item(name: str | None, value: str, own: bool, *, changed: bool) -> Item:
    return {"name": name or "(registry)", "value": value, "own": own, "changed": changed}


def _target(run: Run) -> Registry:
    from klamm.client.contexts import Layers, resolve
    from klamm.client.registry.registry import Registry

    context, url = run.values.text("to_context"), run.values.text("to_registry")
    if (context is None) == (url is None):
        msg = "klamm schema cp needs --to-context NAME or --to-registry URL"
        raise UsageError(msg)
    if url is not None:
        return Registry(run.resolved.settings, url)
    return Registry(resolve(Layers(context=context, write=run.values.flag("write"))).settings)


def _copy_item(
    subject: str, version: int, schema_id_from: int, schema_id: int | None, version_to: int | None, *, new: bool
) -> Item:
    return {
        "name": subject,
        "version": version,
        "schema_id_from": schema_id_from,
        "version_to": version_to,
        "schema_id": schema_id,
        "copied": new,
    }
