"""What is kept of the end of an account: suspension, deletion, erasure and export, in PostgreSQL."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from shared.accounts.models import PersonStatus
from shared.clients import database
from shared.runtime.visit import Visit


async def suspend(visit: Visit, person_id: UUID, reason: str, outbox_id: UUID) -> PersonStatus:
    data = await database.serve(
        visit, "suspend_person", p_user_id=str(person_id), p_reason=reason, p_outbox_id=str(outbox_id)
    )
    return PersonStatus.model_validate(data)


async def restore(visit: Visit, person_id: UUID) -> PersonStatus:
    return PersonStatus.model_validate(await database.serve(visit, "restore_person", p_user_id=str(person_id)))


async def delete_me(visit: Visit, goodbye_id: UUID, goodbye: dict[str, Any], erasure_id: UUID) -> None:
    await database.serve(
        visit, "delete_me", p_goodbye_id=str(goodbye_id), p_goodbye=goodbye, p_erasure_id=str(erasure_id)
    )


# With the server key, of people who have been deleted


async def erase_rows(person_id: UUID, table: str, limit: int) -> int:
    """Erase at most `limit` of the person's rows. Returns how many went."""
    return _erased(await database.call("erase_rows", p_user_id=str(person_id), p_table=table, p_limit=limit))


async def erase_limits(person_id: UUID) -> int:
    return _erased(await database.call("erase_limits", p_user_id=str(person_id)))


async def erase_mails(person_id: UUID) -> bool:
    """Forget unsent mails to the person. Returns whether their goodbye is still on its way."""
    data: dict[str, Any] = await database.call("erase_mails", p_user_id=str(person_id))
    return bool(data["waiting"])


async def erase_person(person_id: UUID) -> None:
    await database.call("erase_person", p_user_id=str(person_id))


async def waiting_erasures() -> dict[str, Any]:
    """Deleted people of whom something is left: {waiting, failing, oldest_at}; failing are those tried before."""
    waiting: dict[str, Any] = await database.call("waiting_erasures")
    return waiting


def _erased(data: dict[str, Any]) -> int:
    return int(data["erased"])


# With the server key, a page at a time


async def export_rows(
    person_id: UUID, table: str, after: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of what the person may read of a table, and where the next one begins; None where this is the last."""
    data = await database.call("export_rows", p_user_id=str(person_id), p_table=table, p_after=after, p_limit=limit)
    return data["rows"], data["next"]


async def export_audit(person_id: UUID, after: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]:
    """A page of what the audit log says of the person."""
    data = await database.call("export_audit", p_user_id=str(person_id), p_after=after, p_limit=limit)
    return data["rows"], data["next"]
