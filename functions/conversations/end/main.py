"""POST /v1/sessions/{session_id}/end: a conversation that takes no more turns."""

from __future__ import annotations

from uuid import UUID

from shared.clients.database import DatabaseSettings
from shared.conversations import service
from shared.conversations.models import Session
from shared.http.bearer import SignedIn
from shared.http.declaration import KIB, Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="conversations-end",
    path="/v1/sessions/{session_id}/end",
    settings=(DatabaseSettings,),
    secrets=("BACKEND_KEY",),
)


@function.post(
    "End a session", caller=Caller.PERSON, idempotency="accepted", rate=Rate(60, burst=20), max_body_bytes=8 * KIB
)
async def end_session(person: SignedIn, session_id: UUID) -> Session:
    return await service.end_session(person, session_id)


main = function.entry_point()
