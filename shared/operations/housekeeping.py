"""What the scheduler has done: each tick once, however often it is delivered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from shared.operations import inbox, outbox, service, store
from shared.operations.models import Housekeeping

SOURCE = "scheduler"
_PURGE_BATCH = 1000


async def deliver_outbox(message_id: str, lease_seconds: int) -> Housekeeping:
    """Send what transactions left and nobody has sent yet."""
    return await _once("deliver-outbox", message_id, outbox.sweep, lease_seconds)


async def reap(message_id: str, lease_seconds: int) -> Housekeeping:
    """Close turns whose process has died."""
    return await _once("reap", message_id, service.reap_turns, lease_seconds)


async def purge(message_id: str, lease_seconds: int) -> Housekeeping:
    """Delete what nobody can need any more."""
    return await _once("purge", message_id, _purge, lease_seconds)


async def seal_audit(message_id: str, lease_seconds: int) -> Housekeeping:
    """Seal the hours of the audit log that are over."""
    return await _once("seal-audit", message_id, service.seal_audit, lease_seconds)


async def _purge() -> int:
    total = 0
    while True:
        gone = await store.purge(_PURGE_BATCH)
        total += sum(gone.values())
        if max(gone.values(), default=0) < _PURGE_BATCH:
            return total


async def _once(name: str, message_id: str, chore: Callable[[], Awaitable[int]], lease_seconds: int) -> Housekeeping:
    """Raises Conflict (`delivery_running`) while another delivery of the tick is at work."""
    done = 0

    async def effect() -> None:
        nonlocal done
        done = await chore()

    # The chore's own name is part of the source: a job that was pointed elsewhere is another message.
    ran = await inbox.take_once(f"{SOURCE}/{name}", message_id, effect, lease_seconds=lease_seconds)
    return Housekeeping(ran=ran, count=done)
