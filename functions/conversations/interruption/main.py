"""POST /v1/sessions/{session_id}/turns/{turn_id}/interrupt: stop, and keep what was heard."""

from __future__ import annotations

from uuid import UUID

from shared.clients.database import DatabaseSettings
from shared.conversations import turn_reading as turns
from shared.conversations.turn_models import Interrupted, Interruption
from shared.http.bearer import SignedIn
from shared.http.declaration import Caller, Function
from shared.http.settings import TokenSettings
from shared.runtime.visit import Rate

function = Function(
    name="conversations-interruption",
    path="/v1/sessions/{session_id}/turns/{turn_id}/interrupt",
    settings=(DatabaseSettings, TokenSettings),
    secrets=("BACKEND_KEY",),
)


@function.post(
    "Break into a turn",
    caller=Caller.PERSON,
    idempotency="accepted",
    rate=Rate(60, burst=30),
    responses={409: {"description": "The turn has failed; there is nothing to interrupt."}},
)
async def interrupt(session_id: UUID, turn_id: UUID, played: Interruption, person: SignedIn) -> Interrupted:
    return await turns.interrupt(person, session_id, turn_id, played)


main = function.entry_point()
