"""Erasing a deleted person everywhere: every place of the registry, until each of them is empty.

A place that fails keeps none of the others from being erased, but for the tables in which it is told of: without them
nobody would know any more what is to be revoked or removed there. The person's own row is the last. The whole is tried
again until nothing failed: its outbox entry does not die. Each try that failed is one line at ERROR, "a person could
not be erased yet", with the places, how many people wait and since when: what the project's alert counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from shared.accounts import endings, rooms
from shared.accounts import lifecycle_store as store
from shared.accounts.places import NotYet, places
from shared.operations import service as operations
from shared.operations.models import OutboxEntry
from shared.runtime import logs
from shared.runtime.errors import OprinaError

# A place that is larger goes on at the next try, where this one left off.
_PLACE_SECONDS: Final = 20.0


async def erase(person_id: UUID, deleted_at: datetime) -> list[str]:
    """Erase a person who has been deleted. Returns the places that are not empty yet; none says that all is done."""
    rooms.load()
    walk = _Walk(person_id)
    # What goes on would only leave new traces.
    for effect in await endings.not_ended(person_id, deleted_at):
        walk.fail(effect.name, effect.told_in)
    for place in places():
        if place.name in walk.needed:
            walk.come_again(place.name, place.told_in)
        elif place.erase is not None:
            await walk.erase(place.name, place.erase, place.told_in)
    if not walk.undone:
        await walk.erase("users", store.erase_person, ())
    if walk.failed:
        await _alert(walk.failed)
    return walk.undone


class _Walk:
    """One try. `undone` are the places to come again for, `failed` those of them where something went wrong, `needed`
    the tables that still tell of them."""

    def __init__(self, person_id: UUID) -> None:
        self._person_id = person_id
        self.undone: list[str] = []
        self.failed: list[str] = []
        self.needed: set[str] = set()

    async def erase(self, name: str, erase: Callable[[UUID], Awaitable[None]], told_in: tuple[str, ...]) -> None:
        try:
            async with asyncio.timeout(_PLACE_SECONDS):
                await erase(self._person_id)
        except NotYet as reason:
            logs.logger().info("an erasure waits", extra={"place": name, "reason": str(reason)})
            self.come_again(name, told_in)
        except Exception:
            logs.logger().exception("a place could not be erased", extra={"place": name})
            self.fail(name, told_in)

    def fail(self, name: str, told_in: tuple[str, ...]) -> None:
        self.failed.append(name)
        self.come_again(name, told_in)

    def come_again(self, name: str, told_in: tuple[str, ...]) -> None:
        self.undone.append(name)
        self.needed.update(told_in)


async def _alert(failed: list[str]) -> None:
    try:
        waiting = await store.waiting_erasures()
    except OprinaError:
        waiting = {}
    logs.logger().error("a person could not be erased yet", extra={"places": failed, **waiting})


async def _erase_entry(entry: OutboxEntry) -> None:
    undone = await erase(UUID(entry.payload["person_id"]), datetime.fromisoformat(entry.payload["at"]))
    if undone:
        raise operations.Undelivered(", ".join(undone))


operations.on_outbox("erase_person", _erase_entry)
