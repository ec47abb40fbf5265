"""Use cases of the operations room."""

from __future__ import annotations

from shared.operations import outbox, store

_REAP_BATCH = 100

deliver_outbox = outbox.deliver
sweep_outbox = outbox.sweep


async def reap_turns() -> int:
    """Close turns whose lease ran out. Returns how many."""
    closed = total = await store.reap_turns(_REAP_BATCH)
    while closed == _REAP_BATCH:
        closed = await store.reap_turns(_REAP_BATCH)
        total += closed
    return total
