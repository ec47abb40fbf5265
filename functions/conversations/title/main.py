"""POST /v1/sessions/{session_id}/title: make the title again from what was said."""

from __future__ import annotations

from uuid import UUID

from shared.clients.database import DatabaseSettings
from shared.conversations import service
from shared.conversations.models import Session
from shared.http.bearer import SignedIn
from shared.http.declaration import KIB, Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="conversations-title",
    path="/v1/sessions/{session_id}/title",
    settings=(DatabaseSettings,),
    secrets=("BACKEND_KEY",),
)


@function.post(
    "Make the title again from what was said",
    caller=Caller.PERSON,
    idempotency="accepted",
    rate=Rate(60, burst=20),
    max_body_bytes=8 * KIB,
    responses={409: {"description": "Nothing has been said yet that a title could be made from."}},
)
async def retitle_session(person: SignedIn, session_id: UUID) -> Session:
    return await service.retitle_session(person, session_id)


main = function.entry_point()
