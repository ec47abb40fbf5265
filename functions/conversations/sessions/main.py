"""GET POST /v1/sessions: a person's conversations."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from shared.clients.database import DatabaseSettings
from shared.conversations import service
from shared.conversations.models import NewSession, Session, SessionStatus
from shared.http.bearer import SignedIn
from shared.http.declaration import KIB, Caller, Function
from shared.http.paging import Page, Paging, encode_cursor
from shared.runtime.visit import Rate

function = Function(
    name="conversations-sessions",
    path="/v1/sessions",
    settings=(DatabaseSettings,),
    secrets=("BACKEND_KEY",),
)


@function.get("The person's sessions, newest activity first", caller=Caller.PERSON, rate=Rate(120, burst=40))
async def sessions(
    person: SignedIn,
    page: Paging,
    status: Annotated[SessionStatus | None, Query(description="Only sessions in this state.")] = None,
    q: Annotated[str | None, Query(max_length=200, description="Searches titles and what was said.")] = None,
) -> Page[Session]:
    items, following = await service.list_sessions(
        person, limit=page.limit, after=page.after, query=(q or "").strip() or None, status=status
    )
    return Page(items=items, next_cursor=encode_cursor(following))


@function.post(
    "Begin a session",
    caller=Caller.PERSON,
    idempotency="accepted",
    rate=Rate(60, burst=20),
    max_body_bytes=8 * KIB,
    status_code=201,
)
async def create_session(person: SignedIn, body: NewSession | None = None) -> Session:
    return await service.create_session(person, body or NewSession())


main = function.entry_point()
