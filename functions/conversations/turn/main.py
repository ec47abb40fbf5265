"""GET /v1/sessions/{session_id}/turns/{turn_id}: a stored turn."""

from __future__ import annotations

from uuid import UUID

from shared.clients.database import DatabaseSettings
from shared.conversations import turn_reading as turns
from shared.conversations.turn_models import Turn
from shared.http.bearer import SignedIn
from shared.http.declaration import Caller, Function
from shared.http.settings import TokenSettings
from shared.runtime.visit import Rate

function = Function(
    name="conversations-turn",
    path="/v1/sessions/{session_id}/turns/{turn_id}",
    settings=(DatabaseSettings, TokenSettings),
    secrets=("BACKEND_KEY",),
)


@function.get("Look at a turn", caller=Caller.PERSON, rate=Rate(120, burst=60))
async def get_turn(session_id: UUID, turn_id: UUID, person: SignedIn) -> Turn:
    return await turns.get(person, session_id, turn_id)


main = function.entry_point()
