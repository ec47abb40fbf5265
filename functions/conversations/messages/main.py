"""GET /v1/sessions/{session_id}/messages: what was said in a conversation."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query

from shared.clients.database import DatabaseSettings
from shared.conversations import service
from shared.conversations.models import Message, MessageKind, Role
from shared.http.bearer import SignedIn
from shared.http.declaration import Caller, Function
from shared.http.paging import Page, Paging, encode_cursor
from shared.runtime.visit import Rate

function = Function(
    name="conversations-messages",
    path="/v1/sessions/{session_id}/messages",
    settings=(DatabaseSettings,),
    secrets=("BACKEND_KEY",),
)


@function.get("What was said, newest first", caller=Caller.PERSON, rate=Rate(120, burst=40))
async def messages(
    person: SignedIn,
    session_id: UUID,
    page: Paging,
    role: Annotated[Role | None, Query(description="Only what this side said.")] = None,
    kind: Annotated[MessageKind | None, Query(description="Only what was spoken, or only what was typed.")] = None,
) -> Page[Message]:
    items, following = await service.list_messages(
        person, session_id, limit=page.limit, after=page.after, role=role, kind=kind
    )
    return Page(items=items, next_cursor=encode_cursor(following))


main = function.entry_point()
