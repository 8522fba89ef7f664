"""What cannot be seen for want of rights, where brokers leave it out without a word."""

from __future__ import annotations

from klamm.client.cluster_rights import GROUPS_HIDDEN, may_describe
from klamm.client.errors import ClientError, UnreachableError
from klamm.tui.session import Memory, Session


async def hidden_groups(session: Session, memory: Memory) -> list[ClientError]:
    """Return a warning where groups may be missing from a list. One DescribeCluster.

    It is asked once a screen, and of a recording at each of its times.

    Raises:
        UnreachableError: The cluster cannot be reached.
    """
    if "sees_groups" not in memory or not session.live:  # each time of a recording may have been somebody else's
        try:
            memory["sees_groups"] = await may_describe(session.cluster)
        except UnreachableError:
            raise
        except ClientError:  # nobody says
            memory["sees_groups"] = None
    if memory["sees_groups"] is not False:
        return []
    return [ClientError("HIDDEN_GROUPS", GROUPS_HIDDEN)]
