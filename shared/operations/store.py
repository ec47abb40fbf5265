"""What the operations room keeps: the outbox and the inbox, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from shared.clients import database
from shared.operations.models import OutboxEntry, UsageItem
from shared.runtime.visit import Visit

_LEASE_SECONDS = 60


async def ping() -> None:
    await database.call("ping")


async def take_outbox(limit: int, ids: Sequence[UUID] | None = None) -> list[OutboxEntry]:
    """Lease entries that are due, so that nobody else sends them meanwhile."""
    wanted = None if ids is None else [str(entry_id) for entry_id in ids]
    rows = await database.call("take_outbox", p_limit=limit, p_lease_seconds=_LEASE_SECONDS, p_ids=wanted)
    return [OutboxEntry.model_validate(row) for row in rows]


async def settle_outbox(entry_id: UUID, error: str | None = None) -> None:
    await database.call("settle_outbox", p_id=str(entry_id), p_error=error)


async def take_delivery(source: str, message_id: str, lease_seconds: int) -> Literal["new", "running", "done"]:
    """Lease a delivery: `new` is ours to work on, `running` is somebody else's, `done` has had its effect."""
    answer: dict[str, Any] = await database.call(
        "take_delivery", p_source=source, p_message_id=message_id, p_lease_seconds=lease_seconds
    )
    state: Literal["new", "running", "done"] = "new" if answer["first"] else answer["state"]
    return state


async def settle_delivery(source: str, message_id: str) -> None:
    await database.call("settle_delivery", p_source=source, p_message_id=message_id)


async def reap_turns(limit: int) -> int:
    answer: dict[str, Any] = await database.call("reap_turns", p_limit=limit)
    return int(answer["closed"])


async def enter(visit: Visit) -> None:
    await database.serve(visit, "enter_only")


async def record_usage(visit: Visit, items: Sequence[UsageItem]) -> None:
    rows = [{**item.model_dump(mode="json"), "turn_id": None, "route": visit.route} for item in items]
    await database.call("record_usage", token=visit.token, p_items=rows)


async def purge(limit: int) -> dict[str, int]:
    """Delete at most `limit` rows of each kind; answers how many of each went."""
    gone: dict[str, int] = await database.call("purge", p_limit=limit)
    return gone
