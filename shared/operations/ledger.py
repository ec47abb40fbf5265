"""Admitting calls that cost, and writing what they used into the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from shared.operations import store
from shared.operations.models import UsageItem
from shared.runtime import logs
from shared.runtime.errors import OprinaError
from shared.runtime.visit import Visit


async def admit(visit: Visit) -> None:
    """Let the call in: identity, limits, project-wide quotas.

    Raises:
        OprinaError: whatever `enter` refuses with.
    """
    await store.enter(visit)


async def record(visit: Visit, items: Sequence[UsageItem]) -> None:
    """Write usage of a call that has already been answered for; a failure is logged and does not undo the answer."""
    try:
        await store.record_usage(visit, items)
    except OprinaError:
        logs.logger().exception("usage could not be written", extra={"items": [item.model_dump() for item in items]})
