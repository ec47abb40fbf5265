"""Use cases of sessions and their messages. Whatever is not the person's own is not found."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, ValidationError

from shared.conversations import rules, store
from shared.conversations.models import (
    Message,
    MessageKind,
    MessagePosition,
    NewSession,
    Role,
    Session,
    SessionChanges,
    SessionPosition,
    SessionStatus,
)
from shared.conversations.store import Cursor
from shared.runtime import ids
from shared.runtime.errors import BadRequest, Conflict
from shared.runtime.visit import Visit


async def create_session(visit: Visit, wanted: NewSession) -> Session:
    return await store.create_session(visit, ids.new_id(), wanted.title)


async def list_sessions(
    visit: Visit, *, limit: int, after: Cursor, query: str | None = None, status: SessionStatus | None = None
) -> tuple[list[Session], Cursor]:
    """One page, newest activity first, and the position of the next one; `query` searches titles and what was said."""
    _check(after, SessionPosition)
    return await store.list_sessions(visit, limit=limit, after=after, query=query, status=status)


async def get_session(visit: Visit, session_id: UUID) -> Session:
    return await store.get_session(visit, session_id)


async def update_session(visit: Visit, session_id: UUID, wanted: SessionChanges) -> Session:
    return await store.update_session(visit, session_id, wanted.model_dump(exclude_unset=True))


async def delete_session(visit: Visit, session_id: UUID) -> None:
    """Remove a session and everything said in it, for good."""
    await store.delete_session(visit, session_id)


async def end_session(visit: Visit, session_id: UUID) -> Session:
    """End a session: it stays readable and takes no more turns. Ending it again changes nothing."""
    return await store.end_session(visit, session_id)


async def retitle_session(visit: Visit, session_id: UUID) -> Session:
    """Make the title again from what was said first, also over one that the person gave.

    Raises:
        Conflict: `nothing_said`, there is nothing yet to make a title from.
    """
    said = await store.first_said(visit, session_id)
    title = rules.title_from(said) if said else None
    if title is None:
        raise Conflict("Nothing has been said yet that a title could be made from.", code="nothing_said")
    return await store.retitle_session(visit, session_id, title)


async def list_messages(
    visit: Visit,
    session_id: UUID,
    *,
    limit: int,
    after: Cursor,
    role: Role | None = None,
    kind: MessageKind | None = None,
) -> tuple[list[Message], Cursor]:
    """One page of a session's messages, newest first, and the position of the next one."""
    _check(after, MessagePosition)
    return await store.list_messages(visit, session_id, limit=limit, after=after, role=role, kind=kind)


def _check(after: Cursor, kind: type[BaseModel]) -> None:
    """Refuse a cursor of another list, or one that somebody made up."""
    if after is None:
        return
    try:
        kind.model_validate(after)
    except ValidationError:
        raise BadRequest(
            "This cursor belongs to no list like this one. Start again without a cursor.", code="cursor_invalid"
        ) from None
