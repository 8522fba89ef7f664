"""What can go wrong between a person and a cluster. Each error names the cause and what to do next."""

from __future__ import annotations

_UNSUPPORTED_VERSION = 35


class ClientError(Exception):
    """Anything a command reports: ``code`` for programs, the message for people, ``next_step`` for what to try.

    ``names_nothing`` is set where all that is wrong is a name that somebody gave and the cluster does not have.
    """

    names_nothing = False

    def __init__(self, code: str, message: str, next_step: str = "", *, name: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.next_step = next_step
        self.name = name


class UnreachableError(ClientError):
    """No conversation with the cluster: ``step`` is dns, tcp, tls, sasl, api_versions, metadata or advertised_host."""

    def __init__(self, step: str, address: str, cause: str, next_step: str) -> None:
        super().__init__(f"UNREACHABLE_{step.upper()}", f"{address}: {cause}", next_step)
        self.step = step
        self.address = address


def another_age(address: str, served: tuple[int, int], spoken: tuple[int, int]) -> UnreachableError:
    """Return the error of a broker none of whose versions of Metadata klamm speaks; version 4 came with Kafka 0.11."""
    age = "old" if served[1] < spoken[0] else "new"
    cause = f"too {age} for this klamm, which speaks Metadata {_range(spoken)}: it serves {_range(served)}"
    step = "klamm speaks with Apache Kafka 0.11 and later" if age == "old" else "try a newer klamm"
    return UnreachableError("metadata", address, cause, step)


class ConnectionLostError(UnreachableError):
    """The broker closed a connection that had worked."""


class DeadlineError(ClientError):
    """A deadline passed after the connection stood."""

    def __init__(self, message: str, next_step: str = "raise --timeout, or look at the broker's log") -> None:
        super().__init__("TIMEOUT", message, next_step)


class RefusedError(ClientError):
    """klamm itself refuses: read-only, wrong cluster, protected name, or nobody confirmed."""

    def __init__(self, message: str, next_step: str) -> None:
        super().__init__("REFUSED", message, next_step)


class SettingsError(ClientError):
    """A context, property or file that cannot be meant."""

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__("SETTINGS", message, next_step)


class ResponseError(ClientError):
    """The broker answered with an error code."""

    def __init__(
        self, error_code: int, message: str | None, next_step: str = "", *, name: str | None = None, needs: str = ""
    ) -> None:
        """Keep what a broker said; ``needs`` is the right that was missing if it refused: DESCRIBE on the cluster.

        Brokers say only that it was refused, and some say it with what a request looks like inside of them.
        """
        self.error_code = error_name(error_code)
        if needs and self.error_code.endswith(_REFUSED):
            message, next_step = f"not allowed: it takes {needs}", next_step or _who_can(needs, name)
        detail = message or _MEANINGS.get(self.error_code, self.error_code.lower().replace("_", " "))
        text = f"{name}: {detail}" if name and name not in detail else detail
        hint = next_step or _NEXT_STEPS.get(self.error_code, "").replace("NAME", name or "NAME")
        super().__init__(self.error_code, text, hint, name=name)
        self.number = error_code

    @property
    def retriable(self) -> bool:
        """Whether Kafka calls the code retriable."""
        from klamm.model.errors import ErrorCode  # noqa: PLC0415 (130 members that a line without errors need not make)

        return not self.error_code.startswith("ERROR_") and ErrorCode(self.number).retriable


class UnsupportedApiError(ResponseError):
    """The broker does not advertise an API, or no version of it that klamm speaks."""

    def __init__(self, api: str, address: str, detail: str = "") -> None:
        message = f"{address} does not serve {api}{detail}"
        super().__init__(_UNSUPPORTED_VERSION, message, "see what it serves: klamm cluster api-versions")


def _who_can(needs: str, name: str | None) -> str:
    """Return the command that shows who has a right."""
    operation, _, kind = needs.partition(" on the ")
    words = ["klamm acl who-can", operation.lower().replace("_", "-"), kind]
    return " ".join(words if kind == "cluster" or not name else [*words, name])


def _range(versions: tuple[int, int]) -> str:
    return f"{versions[0]} to {versions[1]}"


def error_name(code: int) -> str:
    """Return Kafka's name for an error code; ``ERROR_200`` for one that is newer than klamm."""
    from klamm.model.errors import ErrorCode  # noqa: PLC0415 (as above)

    try:
        return ErrorCode(code).name
    except ValueError:
        return f"ERROR_{code}"


def unreadable(broker_id: int, error: Exception) -> UnreachableError:
    """Return the error of an answer that is none in the protocol."""
    return UnreachableError("metadata", f"broker {broker_id}", f"unreadable response: {error}", "report it")


_REFUSED = "_AUTHORIZATION_FAILED"
_MEANINGS = {
    "UNKNOWN_TOPIC_OR_PARTITION": "there is no such topic or partition",
    "TOPIC_ALREADY_EXISTS": "there is such a topic already",
    "NON_EMPTY_GROUP": "the group has live members",
    "GROUP_ID_NOT_FOUND": "there is no such group",
    "LEADER_NOT_AVAILABLE": "the partition has no leader now",
    "COORDINATOR_NOT_AVAILABLE": "the group's coordinator does not answer now",
    "TOPIC_AUTHORIZATION_FAILED": "not allowed on this topic",
    "GROUP_AUTHORIZATION_FAILED": "not allowed on this group",
    "CLUSTER_AUTHORIZATION_FAILED": "not allowed on this cluster",
    "SECURITY_DISABLED": "the cluster has no authorizer",
    "INVALID_REPLICATION_FACTOR": "more replicas than brokers, or fewer than one",
    "GROUP_SUBSCRIBED_TO_TOPIC": "the group is reading this topic now",
    "NO_REASSIGNMENT_IN_PROGRESS": "the partition is not being reassigned",
    "ELECTION_NOT_NEEDED": "the preferred leader leads already",
}
_NEXT_STEPS = {
    "UNKNOWN_TOPIC_OR_PARTITION": "klamm topic list",
    "TOPIC_ALREADY_EXISTS": "klamm topic describe NAME",
    "NON_EMPTY_GROUP": "stop its members first; see: klamm group members NAME",
    "GROUP_ID_NOT_FOUND": "klamm group list",
    "LEADER_NOT_AVAILABLE": "klamm cluster health",
    "TOPIC_AUTHORIZATION_FAILED": "klamm acl who-can describe topic NAME",
    "GROUP_AUTHORIZATION_FAILED": "klamm acl who-can describe group NAME",
    "CLUSTER_AUTHORIZATION_FAILED": "klamm acl list, as somebody who may",
    "INVALID_REPLICATION_FACTOR": "klamm broker list",
    "SECURITY_DISABLED": "set authorizer.class.name on the brokers",
    "UNKNOWN_SERVER_ERROR": "look at the broker's log",
    "INVALID_CONFIG": "klamm config get shows the keys and their documentation",
}
