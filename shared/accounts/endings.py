"""What else ends when a person is suspended or deleted, in the rooms that have something going on outside of requests.

The database ends sign-ins and turns in the transaction that suspends. What runs elsewhere (a live avatar session, jobs)
is ended by an effect that its room joins here when it is imported, and `rooms.load` imports it. Effects are told
through the outbox until each of them is done, so they may be repeated; one that fails keeps no other from being had.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from shared.accounts import rooms
from shared.operations import service as operations
from shared.operations.models import OutboxEntry
from shared.runtime import logs

_EFFECT_SECONDS: Final = 15.0

End = Callable[[UUID, datetime], Awaitable[None]]


@dataclass(frozen=True)
class Effect:
    """`end(person_id, before)` ends what the person began before that moment; later things are of a restored person.

    `told_in` are the tables that say what there is to end: of a deleted person they are kept until it has ended.
    """

    name: str
    end: End
    told_in: tuple[str, ...] = ()


_effects: dict[str, Effect] = {}


def join(name: str, end: End, *, told_in: tuple[str, ...] = ()) -> None:
    """Register what else ends. `end` may be repeated, and raises while it is not done."""
    _effects[name] = Effect(name, end, told_in)


async def not_ended(person_id: UUID, before: datetime) -> list[Effect]:
    """Have every effect. Returns those that are still to be had."""
    rooms.load()
    return [effect for effect in _effects.values() if not await _ended(effect, person_id, before)]


async def _ended(effect: Effect, person_id: UUID, before: datetime) -> bool:
    try:
        async with asyncio.timeout(_EFFECT_SECONDS):
            await effect.end(person_id, before)
    except Exception:
        logs.logger().exception("something of a person who left goes on", extra={"what": effect.name})
        return False
    return True


async def _end_everything(entry: OutboxEntry) -> None:
    person_id, suspended_at = UUID(entry.payload["person_id"]), datetime.fromisoformat(entry.payload["at"])
    undone = await not_ended(person_id, suspended_at)
    if undone:
        raise operations.Undelivered(", ".join(effect.name for effect in undone))


operations.on_outbox("person_suspended", _end_everything)
