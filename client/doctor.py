"""Why a cluster does not answer: each step on its own, until one fails."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.connection import BrokerConnection
from klamm.client.errors import ClientError, UnreachableError
from klamm.client.settings import Address, Settings, parse_address
from klamm.client.text import counted

OK, FAILED, NOT_TRIED = "ok", "FAILED", "not tried"
_DNS_TIMEOUT_S = 4.0


class Step(NamedTuple):
    """One step; ``verdict`` is ok, FAILED, or not tried because one before failed."""

    step: str
    target: str
    verdict: str
    detail: str
    next_step: str
    took_ms: float


async def examine(settings: Settings) -> list[Step]:
    """Walk DNS, TCP, TLS, ApiVersions, SASL of each bootstrap broker, then Metadata and every advertised address."""
    steps: list[Step] = []
    reached: Address | None = None
    for address in settings.bootstrap:
        found = await _bootstrap(address, settings)
        steps += found
        if all(step.verdict == OK for step in found):
            reached = reached or address
    if reached is None:
        return [*steps, Step("metadata", "", NOT_TRIED, "no bootstrap broker was reached", "", 0.0)]
    async with Cluster(settings._replace(bootstrap=(reached,))) as cluster:
        began = time.perf_counter()
        try:
            metadata = await cluster.metadata([])
        except ClientError as error:
            return [*steps, Step("metadata", str(reached), FAILED, error.message, error.next_step, _since(began))]
        brokers = counted(len(metadata.brokers), "broker")
        told = f"cluster {metadata.cluster_id}, {brokers}"
        steps.append(Step("metadata", str(reached), OK, told, "", _since(began)))
        if settings.cluster_id is not None and settings.cluster_id != metadata.cluster_id:
            detail = f"the context is pinned to {settings.cluster_id}"
            steps.append(Step("cluster_id", str(reached), FAILED, detail, "klamm context edit", 0.0))
        for broker in metadata.brokers:
            steps.append(await _advertised(cluster, broker.broker_id, f"{broker.host}:{broker.port}"))
    return steps


async def _bootstrap(address: Address, settings: Settings) -> list[Step]:
    mapped = settings.address_map.get(str(address))
    target = address if mapped is None else parse_address(mapped)
    steps = [await _dns(target)]
    names = ["tcp", *(["tls"] if settings.uses_tls else []), "api_versions", *(["sasl"] if settings.uses_sasl else [])]
    if steps[0].verdict != OK:
        return [*steps, *(Step(name, str(target), NOT_TRIED, "not tried", "", 0.0) for name in names)]
    began = time.perf_counter()
    connection = BrokerConnection(target, settings)
    try:
        await connection.open()
    except ClientError as error:
        failed = error.step if isinstance(error, UnreachableError) else "api_versions"
        failed = failed if failed in names else names[-1]
        steps += [Step(name, str(target), OK, "", "", 0.0) for name in names[: names.index(failed)]]
        steps.append(Step(failed, str(target), FAILED, error.message, error.next_step, _since(began)))
        steps += [Step(name, str(target), NOT_TRIED, "not tried", "", 0.0) for name in names[names.index(failed) + 1 :]]
        return steps
    took = _since(began)
    details = {"api_versions": f"{len(connection.versions)} APIs", "sasl": settings.mechanism}
    connection.close()
    return [
        *steps,
        *(Step(name, str(target), OK, details.get(name, ""), "", took if name == names[-1] else 0.0) for name in names),
    ]


async def _dns(address: Address) -> Step:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(_DNS_TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as error:
        hint = f"check it: getent hosts {address.host}"
        return Step("dns", str(address), FAILED, f"{address.host} does not resolve: {error}", hint, _since(began))
    addresses = ", ".join(dict.fromkeys(str(each[4][0]) for each in found))
    return Step("dns", str(address), OK, addresses, "", _since(began))


async def _advertised(cluster: Cluster, broker_id: int, told: str) -> Step:
    began = time.perf_counter()
    try:
        await cluster.broker(broker_id)
    except ClientError as error:
        return Step("advertised_host", told, FAILED, error.message, error.next_step, _since(began))
    return Step("advertised_host", told, OK, f"broker {broker_id}", "", _since(began))


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 1)
