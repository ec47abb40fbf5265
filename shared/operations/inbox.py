"""The inbox: a delivery that may come twice has its effect once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from shared.operations import store
from shared.runtime.errors import Conflict


async def take_once(
    source: str, message_id: str, effect: Callable[[], Awaitable[None]], *, lease_seconds: int = 60
) -> bool:
    """Run `effect` unless this delivery has had it before.

    The effect runs under a lease: one that dies on the way is tried again by the delivery's next coming, so it has to
    bear being repeated from where it broke off. `source` names who delivers, `message_id` is theirs.

    Returns:
        Whether the effect ran now.

    Raises:
        Conflict: `delivery_running`, another delivery of the same message is at work; come again later.
        Whatever the effect raises; the delivery is then free again once its lease has run out.
    """
    state = await store.take_delivery(source, message_id, lease_seconds)
    if state == "done":
        return False
    if state == "running":
        raise Conflict(
            "This message is being worked on.",
            code="delivery_running",
            retryable=True,
            retry_after_seconds=lease_seconds,
        )
    await effect()
    await store.settle_delivery(source, message_id)
    return True
