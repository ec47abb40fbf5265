"""Use cases of the operations room."""

from __future__ import annotations

from shared.operations import outbox, store
from shared.runtime import logs

_REAP_BATCH = 100
_SEAL_BATCH = 24

Undelivered = outbox.Undelivered
deliver_outbox = outbox.deliver
on_outbox = outbox.on_kind
sweep_outbox = outbox.sweep


async def reap_turns() -> int:
    """Close turns whose lease ran out. Returns how many."""
    closed = total = await store.reap_turns(_REAP_BATCH)
    while closed == _REAP_BATCH:
        closed = await store.reap_turns(_REAP_BATCH)
        total += closed
    return total


async def seal_audit() -> int:
    """Seal the hours of the audit log that are over. Returns how many.

    The newest seal goes into the logs, where whoever can change the database cannot reach: it witnesses all before it.
    """
    total = 0
    while (found := await store.seal_audit(_SEAL_BATCH)).sealed:
        total += found.sealed
        logs.logger().info("the audit log was sealed", extra=found.model_dump(mode="json"))
    return total
