"""What administrators do with other people's accounts."""

from __future__ import annotations

from uuid import UUID

from shared.accounts import lifecycle_store as store
from shared.accounts.models import PersonStatus, Suspension
from shared.runtime import ids
from shared.runtime.visit import Visit


async def suspend(visit: Visit, person_id: UUID, wanted: Suspension) -> PersonStatus:
    """Refuse a person everywhere, from the commit on. Suspending again changes nothing.

    What else they have going is ended by the sweep, which holds the keys of every room.

    Raises:
        Forbidden: `administrators_only`.
        NotFound: there is no such person.
        Conflict: `own_account`, `last_administrator`.
    """
    return await store.suspend(visit, person_id, wanted.reason, ids.new_id())


async def restore(visit: Visit, person_id: UUID) -> PersonStatus:
    """Let a suspended person in again. Their sign-ins stay ended.

    Raises:
        Forbidden: `administrators_only`.
        NotFound: there is no such person.
    """
    return await store.restore(visit, person_id)
