"""What a turn keeps, in PostgreSQL: opened in one transaction, closed in another, none in between."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from shared.clients import database
from shared.conversations.turn_models import Interrupted, Interruption, Opened, Turn, TurnKind
from shared.runtime.visit import Visit

HISTORY_MESSAGES = 20
LEASE_SECONDS = 150


async def open_turn(visit: Visit, session_id: UUID, turn_id: UUID, kind: TurnKind, capability_hash: str) -> Opened:
    """Claim the idempotency key and insert the turn, running under a lease.

    Raises:
        Replay: the key's turn has ended.
        OprinaError: 404 `not_found`, 409 `session_ended`, `turn_in_progress`, `request_in_progress`, 429, 503.
    """
    data = await database.serve(
        visit,
        "open_turn",
        p_session_id=str(session_id),
        p_turn_id=str(turn_id),
        p_kind=kind,
        p_capability_hash=capability_hash,
        p_history=HISTORY_MESSAGES,
        p_lease_seconds=LEASE_SECONDS,
    )
    return Opened.model_validate(data)


async def close_turn(visit: Visit, turn_id: UUID, outcome: dict[str, Any]) -> dict[str, Any] | None:
    """Write all that the turn leaves, at once.

    Returns:
        The stored result: what was interrupted meanwhile is already cut.

    Raises:
        Conflict: `turn_lost`, the turn's lease had run out and it was closed as failed.
        OprinaError: the database refused; nothing was written.
    """
    answer = await database.call(
        "close_turn",
        token=visit.token,
        p_entry=visit.within().as_parameter(),
        p_turn_id=str(turn_id),
        p_outcome=outcome,
    )
    result: dict[str, Any] | None = answer["data"]
    return result


async def get_turn(visit: Visit, session_id: UUID, turn_id: UUID) -> Turn:
    data = await database.serve(visit, "get_turn", p_session_id=str(session_id), p_turn_id=str(turn_id))
    return Turn.model_validate(data)


async def interrupt_turn(visit: Visit, session_id: UUID, turn_id: UUID, played: Interruption) -> Interrupted:
    data = await database.serve(
        visit,
        "interrupt_turn",
        p_session_id=str(session_id),
        p_turn_id=str(turn_id),
        p_played_seq=played.played_seq,
        p_played_ms=played.played_ms,
    )
    return Interrupted.model_validate(data)
