"""Where quotas and avatar sessions are kept: in PostgreSQL."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from shared.avatars.models import AvatarSession, Quota, QuotaChanges, QuotaResets
from shared.clients import database
from shared.runtime.visit import Visit

Cursor = dict[str, Any] | None


async def get_quota(visit: Visit) -> Quota:
    return Quota.model_validate(await database.serve(visit, "get_avatar_quota"))


async def change_quota(visit: Visit, person_id: UUID, wanted: QuotaChanges, grant_id: UUID) -> Quota:
    data = await database.serve(
        visit,
        "change_avatar_quota",
        p_user_id=str(person_id),
        p_changes=wanted.model_dump(exclude_none=True),
        p_grant_id=str(grant_id),
    )
    return Quota.model_validate(data)


async def list_sessions(visit: Visit, *, limit: int, after: Cursor) -> tuple[list[AvatarSession], Cursor]:
    data = await database.serve(visit, "list_avatar_sessions", p_limit=limit, p_cursor=after)
    return [AvatarSession.model_validate(item) for item in data["items"]], data["next"]


async def get_session(visit: Visit, session_id: UUID) -> AvatarSession:
    data = await database.serve(visit, "get_avatar_session", p_session_id=str(session_id))
    return AvatarSession.model_validate(data)


async def reset_quotas(limit: int, after: UUID | None) -> tuple[QuotaResets, UUID | None]:
    """A page of resets with the server key, and whose the last quota was; None where this is the last page."""
    data = await database.call("reset_avatar_quotas", p_limit=limit, p_after=str(after) if after else None)
    following = data["next"]
    return QuotaResets.model_validate(data), None if following is None else UUID(following)
