"""Mistakes of a line are exit code 2 before anything is connected to: nothing listens where these lines lead."""

import io
import sys
from pathlib import Path

import pytest

from klamm.cli.main import load_commands
from klamm.cli.spec import Command, Option
from tests.cli.conftest import Klamm
from tests.support.process import LocalServer

NOWHERE = ("-b", "127.0.0.1:1", "--no-input")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("topic list --stale soon", "--stale takes an age like 30d"),
        ("topic alter orders", "needs --config KEY=VALUE or --unset KEY"),
        ("topic alter orders --config retention.ms", "is no KEY=VALUE"),
        ("topic create orders -p many", "-p takes a number, not 'many'"),
        ("topic add-partitions orders", "needs --to COUNT"),
        ("topic trim orders --before soon", "--before: 'soon' is no position; there is start, end, now"),
        ("topic trim orders --before 1..2", "'1..2' is no position"),
        ("topic trim orders --partitions a", "takes numbers like 0,2"),
        ("topic stats orders --sample=0", "--sample takes a number from 1 on"),
        ("produce orders --template x --count -1", "--count takes a number from 1 on, not -1"),
        ("trace follow orders --top 0", "--top takes a number from 1 on, not 0"),
        ("demo --seconds 0", "--seconds takes a number from 1 on"),
        ("lag --exact=-1", "--exact takes a number from 0 on, not -1"),
        ("lag check --max=-1", "--max takes a number from 0 on"),
        ("topic stats --sample 500 orders", "write --sample=500"),
        ("topic cp orders copy --from yesterday", "'yesterday' is no position"),
        ("group list --state Stabel", "Did you mean 'stable'"),
        ("group list --type classical", "Did you mean 'classic'"),
        ("group seek billing", "needs --to POSITION"),
        ("group seek billing --to soon", "--to: 'soon' is no position"),
        ("group seek billing --to @yesterday", "'@yesterday' is no time"),
        ("group offsets delete billing", "needs --topic NAME"),
        ("group offsets import billing none.json", "none.json"),
        ("group offsets restore nope", "no number of the undo journal"),
        ("lag history --since -1h", "--since is about a recording"),
        ("partition reassign plan --to-brokers a", "takes numbers like 0,2"),
        ("partition reassign apply none.json", "none.json"),
        ("config get bogus", "KIND cannot be 'bogus'. There is: topic, broker"),
        ("config get topc orders", "Did you mean 'topic'"),
        ("config set topic orders retention.ms", "is no KEY=VALUE"),
        ("config diff topic orders", "needs a second NAME, or --with CONTEXT"),
        ("acl create --principal alice --topic orders", "needs --principal, --operation"),
        ("acl create --principal alice --topic orders --operation raed", "Did you mean 'read'"),
        ("acl list --operation raed", "Did you mean 'read'"),
        ("acl create --principal a --cluster --topic x --operation read", "takes --topic or --cluster, not both"),
        ("acl delete --topic a --group b", "takes --topic or --group, not both"),
        ("acl list --allow --deny", "takes --allow or --deny, not both"),
        ("acl list --topic a --literal --prefixed", "takes --literal or --prefixed, not both"),
        ("acl delete", "say --all if that is meant"),
        ("acl who-can raed topic orders", "Did you mean 'read'"),
        ("acl who-can read topc orders", "Did you mean 'topic'"),
        ("acl who-can read topic", "which topic? klamm acl who-can … topic NAME"),
        ("user create alice", "no password: --password-file PATH, or KLAMM_USER_PASSWORD"),
        ("user create alice --password-file none", "--password-file none"),
        ("user create alice --password-file - --iterations 12", "--iterations takes 4096 to 16384, not 12"),
        ("user alter alice", "no password"),
        ("user create alice --mechanism SCRAM", "cannot be 'SCRAM'"),
        ("quota alter consumer_byte_rate=1", "needs --user, --client-id or --ip"),
        ("quota alter --user alice consumer_byte_rat=1", "Did you mean 'consumer_byte_rate'"),
        ("quota alter --user alice consumer_byte_rate=fast", "'fast' is no number"),
        ("quota alter --user alice consumer_byte_rate=nan", "'nan' is no number"),
        ("txn list --state Ongonig", "Did you mean 'ongoing'"),
        ("txn abort orders", "needs --partition N and --producer-id N"),
        ("txn find-hanging --older-than soon", "takes a time"),
        ("broker describe one", "a broker id is a number"),
        ("broker logdirs one", "a broker id is a number"),
        ("broker config one", "a broker id is a number"),
        ("config get broker one", "a broker's name is its id"),
        ("diff", "takes a FILE or --with CONTEXT"),
        ("plan none.yaml", "none.yaml"),
        ("undo nope", "no number of the undo journal"),
        ("trace follow --every soon", "takes a time"),
        ("trace follow --top few", "takes a number"),
        ("consume orders --from soon", "'soon' is no position"),
        ("consume orders -p a", "takes numbers like 0,2"),
        ("consume orders --where value.total>", "--where"),
        ("topics --filter zzz", "--filter 'zzz' is no COLUMN=GLOB"),
        ("topics --filter =x", "is no COLUMN=GLOB"),
        ("topics --filter partitons>3", "Did you mean 'partitions'"),
        ("topics --filter partitions>few", "compares numbers, and 'few' is none"),
        ("topics --sort -sise", "there is no column 'sise'"),
        ("topics --columns name,isr", "there is no column 'isr'"),
        ("groups --filter lag>0", "There is: "),
        ("topics -o jsonpath=.items[[x", "not understood from '[[x'"),
        ("topics -o jsonpath=", "needs one; for example jsonpath=.items[*].name"),
        ("topics -o jsonpath={.items", "not understood from '{.items'"),
        ("topics --watch --filter zzz", "is no COLUMN=GLOB"),
        ("consume orders --filter value.total>", "--filter"),
        ("topic list -w 5s", "write -w5s; if '5s' is a name, put it before -w"),
        ("topic list --watch 500ms", "write --watch=500ms"),
        ("topic list --watch=soon", "--watch takes a time"),
    ],
)
def test_a_mistake_is_2_with_no_connection(klamm: Klamm, monkeypatch: pytest.MonkeyPatch, line: str, said: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("secret\n"))
    monkeypatch.delenv("KLAMM_USER_PASSWORD", raising=False)
    ran = klamm(*line.split(), *NOWHERE)
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert said in ran.err


_NO_NUMBERS = {"N", "COUNT", "N,…", "ID,…", "POSITION", "FILTER", "KEY=VALUE"}


@pytest.mark.parametrize(
    ("command", "option"),
    [
        pytest.param(each, option, id=f"{each.path} {option.names[-1]}")
        for each in load_commands()
        for option in each.options
        if option.metavar in _NO_NUMBERS
    ],
)
def test_no_value_of_an_option_waits_for_a_connection_to_be_checked(
    klamm: Klamm, command: Command, option: Option
) -> None:
    names = ["x" for argument in command.arguments if argument.required]
    ran = klamm(*command.path.split(), *names, f"{option.names[-1]}=no!", *NOWHERE)
    assert ran.code == 2
    assert "no!" in ran.err


def test_kinds_may_be_in_capitals_and_the_plural(klamm: Klamm, shared_klamm: LocalServer, topic: str) -> None:
    assert klamm("topic", "create", topic, "-b", shared_klamm.bootstrap).code == 0
    for kind in ("topics", "Topic", "TOPICS"):
        assert klamm("config", "get", kind, topic, "-b", shared_klamm.bootstrap).code == 0


def test_a_dry_run_of_a_user_needs_no_password(klamm: Klamm) -> None:
    assert klamm("user", "create", "alice", "--dry-run", *NOWHERE).code == 5, "the line is right: it went to connect"


@pytest.mark.parametrize("words", [("--filter", "zzz"), ("--sort", "zzz"), ("--timeout", "soon"), ("--columns", "zzz")])
def test_a_mistake_of_what_is_shown_is_json_too(klamm: Klamm, words: tuple[str, str]) -> None:
    ran = klamm("topics", *words, "-o", "json", *NOWHERE)
    assert (ran.code, ran.codes) == (2, ["USAGE"])


def test_titles_and_fields_name_columns_and_an_empty_result_knows_them(
    klamm: Klamm, shared_klamm: LocalServer, home: Path
) -> None:
    at = ("-b", shared_klamm.bootstrap)
    for name in ("REPLICAS", "replication_factor", "replication-factor", "last_write_ms"):
        ran = klamm("topics", "--sort", name, "--filter", f"{name}<-5", *at)
        assert (ran.code, ran.out) == (0, ""), name


def test_a_watch_ends_with_what_no_later_look_would_mend(klamm: Klamm, shared_klamm: LocalServer) -> None:
    at = ("-b", shared_klamm.bootstrap)
    ran = klamm("config", "get", "broker", "1", "--filter", "value>3", "--watch=100ms", *at)
    assert ran.code == 2
    assert ran.err.count("compares numbers") == 1
