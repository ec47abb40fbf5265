"""What everybody may know of how the product is. Beside the service, which is used without the agent's client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from shared.clients import agent_runtime
from shared.operations import rules, store
from shared.operations.models import Health, PartHealth
from shared.runtime import clock
from shared.runtime.errors import OprinaError

_PART_TIMEOUT_SECONDS = 3.0


async def health() -> Health:
    """Ask every dependency, at the same time, how it is."""
    database, agent = await asyncio.gather(_part(store.ping), _part(agent_runtime.check))
    parts = {"database": database, "agent": agent}
    return Health(status=rules.worst(part.status for part in parts.values()), time=clock.now(), parts=parts)


async def _part(check: Callable[[], Awaitable[None]]) -> PartHealth:
    started = clock.monotonic_ms()
    try:
        async with asyncio.timeout(_PART_TIMEOUT_SECONDS):
            await check()
    except OprinaError as error:
        return PartHealth(status="unavailable", detail=error.detail)
    except TimeoutError:
        return PartHealth(status="unavailable", detail="It did not answer in time.")
    return PartHealth(status="ok", latency_ms=round(clock.monotonic_ms() - started, 1))
