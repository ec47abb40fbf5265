"""What else ends when a person is suspended, in the rooms that have something going on outside of requests.

The database ends sign-ins and turns in the transaction that suspends. What runs elsewhere (a live avatar session, jobs)
is ended by an effect that its room joins here when it is imported. Effects are told through the outbox until each of
them is done, so they may be repeated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

from shared.operations import service as operations
from shared.operations.models import OutboxEntry
from shared.runtime import logs
from shared.runtime.errors import OprinaError

Effect = Callable[[UUID], Awaitable[None]]

_effects: dict[str, Effect] = {}


def join(name: str, effect: Effect) -> None:
    """Register what else ends. `effect` may be repeated, and raises an OprinaError while it is not done."""
    _effects[name] = effect


async def _end_everything(entry: OutboxEntry) -> None:
    person_id = UUID(entry.payload["person_id"])
    undone = []
    for name, effect in _effects.items():
        try:
            await effect(person_id)
        except OprinaError as error:
            logs.logger().error("something of a suspended person goes on", extra={"what": name, "code": error.code})
            undone.append(name)
    if undone:
        raise operations.Undelivered(", ".join(undone))


operations.on_outbox("person_suspended", _end_everything)
