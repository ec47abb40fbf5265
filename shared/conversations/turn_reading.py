"""Use cases of turns that need nothing but the database: look at one, break into one."""

from __future__ import annotations

from uuid import UUID

from shared.conversations import turn_store as store
from shared.conversations.turn_models import Interrupted, Interruption, Turn
from shared.runtime.visit import Visit


async def get(visit: Visit, session_id: UUID, turn_id: UUID) -> Turn:
    return await store.get_turn(visit, session_id, turn_id)


async def interrupt(visit: Visit, session_id: UUID, turn_id: UUID, played: Interruption) -> Interrupted:
    """Stop a running turn, or cut one whose answer was still being played.

    The running instance sees the client's stream close; the flag decides what is kept.
    """
    return await store.interrupt_turn(visit, session_id, turn_id, played)
