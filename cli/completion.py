"""``klamm completion``: scripts for bash, zsh and fish, which ask klamm itself for live names."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from itertools import pairwise

from klamm.cli.output import Result
from klamm.cli.parser import split_words
from klamm.cli.run import Run
from klamm.cli.spec import CHANGE_OPTIONS, SHARED_OPTIONS, Argument, Command, Example, Option, options_of
from klamm.client.errors import ClientError

_SHELLS = ("bash", "zsh", "fish")
_TIMEOUT_S = 1.0
"""A shell that waits longer for names annoys more than it helps."""
_BASH = """_klamm() {
  local IFS=$'\\n'
  local found="$(klamm completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)"
  COMPREPLY=($(compgen -W "$found" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _klamm klamm
"""
_ZSH = """#compdef klamm
_klamm() {
  local -a found
  found=("${(@f)$(klamm completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -a found
}
compdef _klamm klamm
"""
_FISH = """function __klamm_words
  set -l words (commandline -opc) (commandline -ct)
  klamm completion words -- $words[2..-1] 2>/dev/null
end
complete -c klamm -f -a '(__klamm_words)'
"""


async def script(run: Run) -> Result:
    """Print a shell's completion script."""
    shell = run.values.required("shell")
    text = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}[shell]
    return Result([{"name": shell, "script": text}], (), text=text)


async def words(run: Run) -> Result:
    """Print what may stand at the end of a line: nouns, verbs, options, live names."""
    found = await _complete(run.values.texts("words"))
    return Result([{"name": each} for each in found], (), text="".join(f"{each}\n" for each in found))


async def _complete(line: Sequence[str]) -> list[str]:
    from klamm.cli.main import NOUNS, load_commands

    before, last = list(line[:-1]), line[-1] if line else ""
    positional, _ = split_words(before, (*SHARED_OPTIONS, *CHANGE_OPTIONS))
    path = [before[place] for place in positional]
    if not path:
        return [each for each in (*NOUNS, *_options(SHARED_OPTIONS)) if each.startswith(last)]
    aliases = {alias: name for name, noun in NOUNS.items() for alias in noun.aliases}
    path[0] = aliases.get(path[0], path[0])
    commands = load_commands()
    command = next(
        (each for size in (3, 2, 1) for each in commands if each.path.split() == path[:size] and len(path) >= size),
        None,
    )
    if command is None:
        depth = len(path)
        verbs = [
            each.path.split()[depth]
            for each in commands
            if each.path.split()[:depth] == path and len(each.path.split()) > depth
        ]
        return [each for each in dict.fromkeys(verbs) if each.startswith(last)]
    if last.startswith("-"):
        return [each for each in _options(options_of(command)) if each.startswith(last)]
    taken = len(path) - len(command.path.split())
    arguments = command.arguments
    if not arguments or (taken >= len(arguments) and not arguments[-1].repeat):
        return []
    return [each for each in await _names(arguments[min(taken, len(arguments) - 1)], before) if each.startswith(last)]


async def _names(argument: Argument, before: Sequence[str]) -> list[str]:
    """Return live names; none when the cluster does not answer at once."""
    import asyncio

    from klamm.client.cluster import Cluster
    from klamm.client.contexts import Layers, context_names, resolve
    from klamm.client.groups import list_groups

    if argument.choices:
        return list(argument.choices)
    if argument.completes == "context":
        return context_names()
    if not argument.completes:
        return []
    with contextlib.suppress(ClientError, TimeoutError):
        layers = Layers(_given(before, "-c", "--context"), _given(before, "-b", "--bootstrap"), _all(before, "-X"))
        async with asyncio.timeout(_TIMEOUT_S), Cluster(resolve(layers).settings) as cluster:
            if argument.completes == "topic":
                return sorted(topic.name for topic in (await cluster.metadata()).topics)
            if argument.completes == "broker":
                return [str(each) for each in sorted(await cluster.brokers())]
            groups, _ = await list_groups(cluster)
            return [group.group_id for group in groups]
    return []


def _given(line: Sequence[str], *names: str) -> str | None:
    found = [value for name in names for value in _all(line, name)]
    return found[-1] if found else None


def _all(line: Sequence[str], name: str) -> list[str]:
    after = [value for word, value in pairwise(line) if word == name]
    return after + [word.partition("=")[2] for word in line if word.startswith(f"{name}=")]


def _options(options: Sequence[Option]) -> list[str]:
    return [name for option in options for name in option.names if name.startswith("--")]


COMMANDS = (
    Command(
        "completion",
        "Print a shell's completion script",
        script,
        "CompletionScript",
        (Argument("shell", "bash, zsh or fish", choices=_SHELLS),),
        (),
        (
            Example('eval "$(klamm completion bash)"', "in ~/.bashrc"),
            Example("klamm completion fish > ~/.config/fish/completions/klamm.fish", "fish"),
        ),
        local=True,
    ),
    Command(
        "completion words",
        "Print what may stand at the end of a line (the scripts ask this)",
        words,
        "CompletionWords",
        (Argument("words", "the line so far, after --", required=False, repeat=True),),
        (),
        (Example("klamm completion words -- topic describe or", "topics that begin with or"),),
        local=True,
    ),
)
