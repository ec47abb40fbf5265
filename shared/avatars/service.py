"""Use cases of avatars that need no provider: quotas, what became of sessions, and the resets."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from pydantic import ValidationError

from shared.avatars import store
from shared.avatars.models import AvatarSession, AvatarSessionPosition, Quota, QuotaChanges, QuotaResets
from shared.avatars.store import Cursor
from shared.runtime import ids
from shared.runtime.errors import BadRequest
from shared.runtime.visit import Visit

_RESET_PAGE: Final = 500


async def get_quota(visit: Visit) -> Quota:
    return await store.get_quota(visit)


async def change_quota(visit: Visit, person_id: UUID, wanted: QuotaChanges) -> Quota:
    """Give a person another plan, more seconds, or both.

    Raises:
        Forbidden: `administrators_only`.
        NotFound: there is no such person.
        Unprocessable: `plan_unknown`.
    """
    return await store.change_quota(visit, person_id, wanted, ids.new_id())


async def list_sessions(visit: Visit, *, limit: int, after: Cursor) -> tuple[list[AvatarSession], Cursor]:
    """One page, newest first, and the position of the next one."""
    if after is not None:
        try:
            AvatarSessionPosition.model_validate(after)
        except ValidationError:
            raise BadRequest(
                "This cursor belongs to no list like this one. Start again without a cursor.", code="cursor_invalid"
            ) from None
    return await store.list_sessions(visit, limit=limit, after=after)


async def get_session(visit: Visit, session_id: UUID) -> AvatarSession:
    return await store.get_session(visit, session_id)


async def reset_quotas(page_size: int = _RESET_PAGE) -> QuotaResets:
    """Begin the next period of everybody whose period is over. May be repeated, and run twice at once."""
    total = QuotaResets(reset=0, failed=0)
    after: UUID | None = None
    while True:
        page, after = await store.reset_quotas(page_size, after)
        total = QuotaResets(reset=total.reset + page.reset, failed=total.failed + page.failed)
        if after is None:
            return total
