"""Which requests are read anew, and not taken for one that was answered before."""

import pytest

from klamm.server.handlers.fetch import FetchApi
from klamm.server.handlers.produce import ProduceApi


def note_handled(monkeypatch: pytest.MonkeyPatch, api: type[FetchApi | ProduceApi]) -> list[int]:
    """Return a list that grows by the correlation id of each of the API's requests that is read anew."""
    seen: list[int] = []
    receive = api.receive

    def noting(self, connection, header, frame):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        seen.append(header.correlation_id)
        return receive(self, connection, header, frame)

    monkeypatch.setattr(api, "receive", noting)
    return seen
