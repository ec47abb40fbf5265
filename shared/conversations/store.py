"""Where sessions and their messages are kept: in PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from shared.clients import database
from shared.conversations.models import Message, MessageKind, Role, Session, SessionStatus
from shared.runtime.visit import Entry, Visit

Cursor = dict[str, Any] | None


async def create_session(visit: Visit, session_id: UUID, title: str | None) -> Session:
    data = await database.serve(visit, "create_session", p_id=str(session_id), p_title=title)
    return Session.model_validate(data)


async def list_sessions(
    visit: Visit, *, limit: int, after: Cursor, query: str | None, status: SessionStatus | None
) -> tuple[list[Session], Cursor]:
    data = await database.serve(visit, "list_sessions", p_limit=limit, p_cursor=after, p_query=query, p_status=status)
    return [Session.model_validate(item) for item in data["items"]], data["next"]


async def get_session(visit: Visit, session_id: UUID) -> Session:
    return Session.model_validate(await database.serve(visit, "get_session", p_session_id=str(session_id)))


async def update_session(visit: Visit, session_id: UUID, changes: dict[str, Any]) -> Session:
    data = await database.serve(visit, "update_session", p_session_id=str(session_id), p_changes=changes)
    return Session.model_validate(data)


async def delete_session(visit: Visit, session_id: UUID) -> None:
    await database.serve(visit, "delete_session", p_session_id=str(session_id))


async def end_session(visit: Visit, session_id: UUID) -> Session:
    return Session.model_validate(await database.serve(visit, "end_session", p_session_id=str(session_id)))


async def first_said(visit: Visit, session_id: UUID) -> str | None:
    """The first thing the person said in a session; None as long as nothing was said."""
    data = await database.serve(visit, "session_opening", p_session_id=str(session_id))
    text = data["text"]
    return None if text is None else str(text)


async def retitle_session(visit: Visit, session_id: UUID, title: str) -> Session:
    # Reading what was said has taken from the rate already.
    admitted = replace(visit, rate=None, entry=Entry())
    data = await database.serve(admitted, "retitle_session", p_session_id=str(session_id), p_title=title)
    return Session.model_validate(data)


async def list_messages(
    visit: Visit, session_id: UUID, *, limit: int, after: Cursor, role: Role | None, kind: MessageKind | None
) -> tuple[list[Message], Cursor]:
    data = await database.serve(
        visit,
        "list_messages",
        p_session_id=str(session_id),
        p_limit=limit,
        p_cursor=after,
        p_role=role,
        p_kind=kind,
    )
    return [Message.model_validate(item) for item in data["items"]], data["next"]
