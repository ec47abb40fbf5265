"""What administrators do with other people's accounts."""

from __future__ import annotations

from uuid import UUID

# Imported for what it joins: this process may deliver a suspension's effects itself.
from shared.accounts import endings as endings
from shared.accounts import lifecycle_store as store
from shared.accounts.models import PersonStatus, Suspension
from shared.operations import service as operations
from shared.runtime import ids
from shared.runtime.visit import Visit


async def suspend(visit: Visit, person_id: UUID, wanted: Suspension) -> PersonStatus:
    """Refuse a person everywhere, from the commit on. Suspending again changes nothing.

    Raises:
        Forbidden: `administrators_only`.
        NotFound: there is no such person.
        Conflict: `own_account`, `last_administrator`.
    """
    outbox_id = ids.new_id()
    status = await store.suspend(visit, person_id, wanted.reason, outbox_id)
    await operations.deliver_outbox([outbox_id])
    return status


async def restore(visit: Visit, person_id: UUID) -> PersonStatus:
    """Let a suspended person in again. Their sign-ins stay ended.

    Raises:
        Forbidden: `administrators_only`.
        NotFound: there is no such person.
    """
    return await store.restore(visit, person_id)
