"""Erasing a deleted person everywhere: every place of the registry, until each of them is empty.

One place that fails keeps none of the others from being erased, and the whole is tried again until nothing failed. An
erasure never gives up: its outbox entry does not die, its failures are logged as errors, and `waiting` counts them.
"""

from __future__ import annotations

from uuid import UUID

from shared.accounts import lifecycle_store as store
from shared.accounts.places import NotYet, Place, places
from shared.operations import service as operations
from shared.operations.models import OutboxEntry
from shared.runtime import logs
from shared.runtime.errors import OprinaError


async def erase(person_id: UUID) -> list[str]:
    """Erase a person who has been deleted. Returns the places that are not empty yet; none says that all is done."""
    undone = [place.name for place in places() if not await _erased(place, person_id)]
    if not undone:
        await store.erase_person(person_id)
    return undone


async def _erased(place: Place, person_id: UUID) -> bool:
    if place.erase is None:
        return True
    try:
        await place.erase(person_id)
    except NotYet as reason:
        logs.logger().info("an erasure waits", extra={"place": place.name, "reason": str(reason)})
        return False
    except OprinaError as error:
        logs.logger().error("an erasure failed and is tried again", extra={"place": place.name, "code": error.code})
        return False
    return True


async def _erase_entry(entry: OutboxEntry) -> None:
    undone = await erase(UUID(entry.payload["person_id"]))
    if undone:
        raise operations.Undelivered(", ".join(undone))


operations.on_outbox("erase_person", _erase_entry)
