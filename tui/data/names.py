"""What there is by name, for the palette and completion, where no screen has been yet that shows it."""

from __future__ import annotations

from klamm.client.errors import ClientError
from klamm.client.groups import list_groups
from klamm.tui.session import Session


async def learn_names(session: Session) -> None:
    """Take down the names of topics, brokers and groups. What may not be seen has none; nothing is raised."""
    names, cluster = session.names, session.cluster
    try:
        metadata = await cluster.metadata()
        names.setdefault("topic", sorted(topic.name for topic in metadata.topics))
        names.setdefault("broker", [str(each.broker_id) for each in metadata.brokers])
        groups, _ = await list_groups(cluster)
        names.setdefault("group", sorted(group.group_id for group in groups))
    except ClientError:
        return
