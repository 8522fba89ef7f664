"""Contexts: named clusters in TOML files, and the layers that make the settings of one command.

Precedence, highest first: flag, ``-X``, environment, project file (``.klamm.toml``, up to the repository's root), user
file (``$KLAMM_CONFIG`` or ``$XDG_CONFIG_HOME/klamm/config.toml``), default.

A bootstrap address that is given without a context (``-b``, ``KLAMM_BOOTSTRAP``) means that cluster and no context: the
credentials of one cluster never go to another.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from klamm.client.context_file import flattened, read_file, texts
from klamm.client.errors import SettingsError
from klamm.client.settings import DEFAULT_BOOTSTRAP, Settings, parse_bootstrap

if TYPE_CHECKING:
    from pathlib import Path

PROJECT_FILE: Final = ".klamm.toml"
ENVIRONMENT_PREFIX: Final = "KLAMM_X_"
_TRUE: Final = frozenset({"1", "true", "yes", "on"})


class Layers(NamedTuple):
    """What a command line says about the cluster."""

    context: str | None = None
    bootstrap: str | None = None
    properties: Sequence[str] = ()
    write: bool = False


class Resolved(NamedTuple):
    """Settings, and for each field which layer set it. ``raw`` holds the values as written, secrets as references."""

    settings: Settings
    origins: dict[str, str]
    raw: dict[str, str]
    chosen: bool


def user_file() -> Path:
    """Return where the user's contexts are, whether or not the file is there."""
    from pathlib import Path  # noqa: PLC0415 (a line with -b reads no file)

    from klamm.client.folders import config_folder  # noqa: PLC0415 (as above)

    given = os.environ.get("KLAMM_CONFIG")
    return Path(given).expanduser() if given else config_folder() / "klamm" / "config.toml"


def project_file() -> Path | None:
    """Return the nearest ``.klamm.toml`` from the working directory up to the repository's root."""
    from pathlib import Path  # noqa: PLC0415 (as above)

    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / PROJECT_FILE).is_file():
            return folder / PROJECT_FILE
        if (folder / ".git").exists():
            return None
    return None


def read_files() -> list[tuple[Path, dict[str, Any]]]:
    """Return the files that are there, the user's first, the project's last."""
    paths = [user_file(), project_file()]
    return [(path, read_file(path)) for path in paths if path is not None and path.is_file()]


def context_names() -> list[str]:
    """Return every context's name, in the order of the files."""
    return list(dict.fromkeys(name for _, found in read_files() for name in found.get("contexts", {})))


def resolve(layers: Layers, environment: Mapping[str, str] | None = None) -> Resolved:
    """Return the settings that all layers make together, with secrets looked up.

    Raises:
        SettingsError: No such context, or a value that cannot be meant.
    """
    _check_given(layers)
    env = os.environ if environment is None else environment
    bare = layers.context is None and (layers.bootstrap or (env.get("KLAMM_BOOTSTRAP") and "KLAMM_CONTEXT" not in env))
    files = [] if bare else read_files()
    name, name_origin = (None, "") if bare else _chosen_name(layers, env, files)
    fields: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if name is not None:
        _read_context(name, files, fields, origins)
        origins["context"] = name_origin
    _read_environment(env, fields, origins)
    _read_line(layers, fields, origins)
    return _build(name, layers, fields, origins)


def _check_given(layers: Layers) -> None:
    """Check that what the line names has a name: an unset variable of a script must not mean another cluster."""
    for option, text in (("-b", layers.bootstrap), ("-c", layers.context)):
        if text is not None and not text.strip():
            msg = f"{option} is empty. It would mean whichever cluster is the default"
            raise SettingsError(msg, "is a variable of the script not set? Otherwise leave the option out")


def _chosen_name(
    layers: Layers, env: Mapping[str, str], files: Sequence[tuple[Path, dict[str, Any]]]
) -> tuple[str | None, str]:
    if layers.context:
        return layers.context, "--context"
    if env.get("KLAMM_CONTEXT"):
        return env["KLAMM_CONTEXT"], "KLAMM_CONTEXT"
    for path, found in reversed(files):
        if found.get("current"):
            return str(found["current"]), str(path)
    return None, ""


def _read_context(
    name: str, files: Sequence[tuple[Path, dict[str, Any]]], fields: dict[str, Any], origins: dict[str, str]
) -> None:
    found_in = [(path, found["contexts"][name]) for path, found in files if name in found.get("contexts", {})]
    if not found_in:
        import difflib  # noqa: PLC0415

        known = list(dict.fromkeys(each for _, found in files for each in found.get("contexts", {})))
        near = difflib.get_close_matches(name, known, 3)
        hint = f" Did you mean {' or '.join(repr(each) for each in near)}?" if near else ""
        msg = f"there is no context {name!r}.{hint}"
        raise SettingsError(msg, "klamm context list" if known else f"klamm context add {name} -b HOST:PORT")
    for path, context in found_in:
        for key, value in context.items():
            if key in {"kafka", "registry"}:
                for each, text in flattened(value):
                    fields[f"{key}.{each}"], origins[f"{key}.{each}"] = text, str(path)
            elif key == "connect":
                for each, given in value.items():
                    fields[f"connect.{each}"], origins[f"connect.{each}"] = given, str(path)
            else:
                fields[key], origins[key] = value, str(path)


def _read_environment(env: Mapping[str, str], fields: dict[str, Any], origins: dict[str, str]) -> None:
    for variable, value in env.items():
        if variable.startswith(ENVIRONMENT_PREFIX):
            key = "kafka." + variable.removeprefix(ENVIRONMENT_PREFIX).lower().replace("_", ".")
            fields[key], origins[key] = value, variable
    if env.get("KLAMM_BOOTSTRAP"):
        fields["bootstrap"], origins["bootstrap"] = env["KLAMM_BOOTSTRAP"], "KLAMM_BOOTSTRAP"
    if env.get("KLAMM_REGISTRY"):
        # Another registry: credentials of the context's never go there.
        for key in [each for each in fields if each.startswith("registry.")]:
            del fields[key], origins[key]
        fields["registry.url"], origins["registry.url"] = env["KLAMM_REGISTRY"], "KLAMM_REGISTRY"
    if env.get("KLAMM_READ_ONLY", "").lower() in _TRUE:
        fields["read_only"], origins["read_only"] = True, "KLAMM_READ_ONLY"


def _read_line(layers: Layers, fields: dict[str, Any], origins: dict[str, str]) -> None:
    for pair in layers.properties:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            msg = f"-X {pair!r} is no KEY=VALUE"
            raise SettingsError(msg, "for example -X security.protocol=SSL")
        fields[f"kafka.{key}"], origins[f"kafka.{key}"] = value, "-X"
    if layers.bootstrap:
        fields["bootstrap"], origins["bootstrap"] = layers.bootstrap, "--bootstrap"


def _build(name: str | None, layers: Layers, fields: dict[str, Any], origins: dict[str, str]) -> Resolved:
    from klamm.client.secrets import resolve as resolve_secret  # noqa: PLC0415

    given = {key.removeprefix("kafka."): value for key, value in fields.items() if key.startswith("kafka.")}
    if given:
        from klamm.client import property_names  # noqa: PLC0415 (most lines have none)

        layers_of = {key: origins[f"kafka.{key}"] for key in given}
        property_names.check(
            {key: f"{at}: [contexts.{name}.kafka]" if at.endswith(".toml") else at for key, at in layers_of.items()}
        )
    properties = {key: resolve_secret(value) for key, value in given.items()}
    if "connect.via" in fields:
        msg = f"context {name!r} has connect.via = {fields['connect.via']!r}, which klamm cannot do"
        raise SettingsError(msg, "open the tunnel yourself and use connect.address_map")
    bootstrap = fields.get("bootstrap") or properties.get("bootstrap.servers") or properties.get("metadata.broker.list")
    chosen = bootstrap is not None
    if bootstrap is None:
        bootstrap, origins["bootstrap"] = DEFAULT_BOOTSTRAP, "default"
    text = ",".join(bootstrap) if isinstance(bootstrap, list) else str(bootstrap)
    settings = Settings(
        bootstrap=parse_bootstrap(text),
        properties=properties,
        context=name,
        cluster_id=fields.get("cluster_id"),
        env=fields.get("env"),
        read_only=bool(fields.get("read_only", False)),
        write=layers.write,
        protect=texts(fields.get("protect", ())),
        address_map=fields.get("connect.address_map", {}),
        registry={
            key.removeprefix("registry."): resolve_secret(value)
            for key, value in fields.items()
            if key.startswith("registry.")
        },
    )
    raw = {key: ",".join(value) if isinstance(value, list) else str(value) for key, value in fields.items()}
    raw.setdefault("bootstrap", text)
    return Resolved(settings, origins, raw, chosen)
