"""GET PATCH DELETE /v1/sessions/{session_id}: one conversation."""

from __future__ import annotations

from uuid import UUID

from shared.clients.database import DatabaseSettings
from shared.conversations import service
from shared.conversations.models import Session, SessionChanges
from shared.http.bearer import SignedIn
from shared.http.declaration import KIB, Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="conversations-session",
    path="/v1/sessions/{session_id}",
    settings=(DatabaseSettings,),
    secrets=("BACKEND_KEY",),
)


@function.get("One session", caller=Caller.PERSON, rate=Rate(120, burst=40))
async def get_session(person: SignedIn, session_id: UUID) -> Session:
    return await service.get_session(person, session_id)


@function.patch("Give a session a title", caller=Caller.PERSON, rate=Rate(60, burst=20), max_body_bytes=8 * KIB)
async def update_session(person: SignedIn, session_id: UUID, body: SessionChanges) -> Session:
    return await service.update_session(person, session_id, body)


@function.delete("Remove a session for good", caller=Caller.PERSON, rate=Rate(60, burst=20), status_code=204)
async def delete_session(person: SignedIn, session_id: UUID) -> None:
    await service.delete_session(person, session_id)


main = function.entry_point()
