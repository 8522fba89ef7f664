"""Which configs are in effect: what the metadata log sets, over what ``server.properties`` sets, over defaults."""

from __future__ import annotations

from collections.abc import Mapping

from klamm.core.metadata_image import MetadataImage
from klamm.model.configs import ConfigResource, ResourceType
from klamm.model.configs_broker import BrokerConfig
from klamm.model.configs_topic import TopicSettings
from klamm.model.ids import BrokerId, TopicName


class EffectiveConfigs:
    """The configs of this broker and of its topics, kept up with the image.

    Topics with the same overrides share one :class:`TopicSettings`: 10,000 topics without overrides cost one.
    """

    def __init__(self, config: BrokerConfig) -> None:
        self.broker = config
        self._settings: dict[tuple[tuple[str, str], ...], TopicSettings] = {}

    def update(self, image: MetadataImage) -> bool:
        """Take the dynamic broker configs of ``image``.

        Returns:
            Whether they changed, and with them possibly the settings of every topic.

        Raises:
            InvalidConfigError: A value is out of its range.
        """
        dynamic_broker, dynamic_default = dynamic_layers(image, BrokerId(self.broker.node_id))
        layers = self.broker.layers
        if dynamic_broker == layers.dynamic_broker and dynamic_default == layers.dynamic_default:
            return False
        self.broker = self.broker.with_dynamic(dynamic_broker, dynamic_default)
        self._settings.clear()
        return True

    def topic(self, image: MetadataImage, topic: TopicName) -> TopicSettings:
        """Return the settings of a topic of ``image``."""
        overrides = image.topic_config(topic)
        if not overrides:
            return self.broker.topic_defaults
        key = tuple(sorted(overrides.items()))
        settings = self._settings.get(key)
        if settings is None:
            settings = self._settings[key] = self.broker.topic_settings(overrides)
        return settings


def dynamic_layers(image: MetadataImage, broker_id: BrokerId) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the dynamic configs of one broker, and those of all brokers."""
    return (
        image.config(ConfigResource(ResourceType.BROKER, str(broker_id))),
        image.config(ConfigResource(ResourceType.BROKER, "")),
    )
