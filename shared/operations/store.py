"""What the operations room keeps: the ledger, the outbox and the inbox, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Literal
from uuid import UUID

from shared.clients import database
from shared.operations.models import OutboxEntry, Sealing, UsageItem
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


async def get_usage(visit: Visit, first: date | None, last: date | None) -> dict[str, Any]:
    """What was used and asked for, by day, as the database answers: without the sums of costs."""
    data: dict[str, Any] = await database.serve(
        visit, "get_usage", p_from=first and first.isoformat(), p_to=last and last.isoformat()
    )
    return data


async def begin_call(visit: Visit, call_id: UUID, lease_seconds: int) -> None:
    await database.serve(visit, "begin_call", p_call_id=str(call_id), p_lease_seconds=lease_seconds)


async def end_call(
    visit: Visit,
    call_id: UUID,
    items: Sequence[UsageItem],
    *,
    status: int | None = None,
    body: Any = None,
    fingerprint: str | None = None,
) -> None:
    """Book what a call used and settle its key, at once; without a status the key may be used again."""
    await database.call(
        "end_call",
        token=visit.token,
        p_entry=visit.as_parameter(),
        p_call_id=str(call_id),
        p_items=[{**item.model_dump(mode="json"), "turn_id": None, "route": visit.route} for item in items],
        p_status=status,
        p_body=body,
        p_fingerprint=fingerprint,
    )


async def open_contact_case(
    visit: Visit,
    *,
    case: dict[str, Any],
    key_hash: str | None,
    support: tuple[UUID, dict[str, Any]],
    confirmation: tuple[UUID, dict[str, Any]],
) -> int:
    """Keep a contact case and its two mails, which get its number among their values. Returns the number."""
    # With the server key: where the visit has a person, their token would not let mails be written.
    data = await database.serve(
        replace(visit, token=None),
        "open_contact_case",
        p_case=case,
        p_user_id=visit.person_id and str(visit.person_id),
        p_sign_in_id=visit.sign_in_id and str(visit.sign_in_id),
        p_key_hash=key_hash,
        p_support_id=str(support[0]),
        p_support_mail=support[1],
        p_confirmation_id=str(confirmation[0]),
        p_confirmation=confirmation[1],
    )
    return int(data["case_id"])


async def seal_audit(limit: int) -> Sealing:
    return Sealing.model_validate(await database.call("seal_audit", p_limit=limit))


async def purge(limit: int) -> dict[str, int]:
    """Delete at most `limit` rows of each kind; answers how many of each went."""
    gone: dict[str, int] = await database.call("purge", p_limit=limit)
    cases: dict[str, int] = await database.call("purge_contact_cases", p_limit=limit)
    return gone | cases
