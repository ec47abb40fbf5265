"""Admitting calls that cost, writing what they used into the ledger, and reading it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from shared.operations import rules, store
from shared.operations.models import RequestLine, Usage, UsageDay, UsageItem, UsageLine
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


async def report(visit: Visit, first: date | None, last: date | None) -> Usage:
    """What the person used and asked for from `first` to `last`, both included; by default the last 30 days.

    Raises:
        Unprocessable: `range_invalid`: it ends before it begins, or has more than 366 days.
    """
    found = await store.get_usage(visit, first, last)
    usage = [UsageLine.model_validate(line) for line in found["usage"]]
    cost, unpriced = rules.cost_of(usage)
    return Usage.model_validate(
        {
            "from": found["from"],
            "to": found["to"],
            "timezone": found["timezone"],
            "cost_micros": cost,
            "unpriced_events": unpriced,
            "usage": usage,
            "requests": [RequestLine.model_validate(line) for line in found["requests"]],
            "days": [_day(day) for day in found["days"]],
        }
    )


def _day(found: dict[str, Any]) -> UsageDay:
    usage = [UsageLine.model_validate(line) for line in found["usage"]]
    cost, unpriced = rules.cost_of(usage)
    return UsageDay(
        day=found["day"], cost_micros=cost, unpriced_events=unpriced, usage=usage, requests=found["requests"]
    )
