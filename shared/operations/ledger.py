"""Admitting calls that cost, writing what they used into the ledger, and reading it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from shared.operations import rules, store
from shared.operations.models import RequestLine, Usage, UsageDay, UsageItem, UsageLine
from shared.runtime import ids, logs
from shared.runtime.errors import OprinaError
from shared.runtime.problem import problem_document
from shared.runtime.visit import Visit

_END_SECONDS = 2.0
# From this status on the fault is not the request's.
_MAY_HEAL = 500


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


class Call:
    """A call whose work is not in the database: begun with its key, ended with what it used and what it answered.

    Whatever happens between the two, the key is free again when the lease has run out.
    """

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._id = ids.new_id()

    async def begin(self, lease_seconds: int) -> None:
        """Let the call in and claim its key.

        Raises:
            Replay: the key's call has ended.
            OprinaError: whatever `enter` refuses with; `request_in_progress` while another call holds the key.
        """
        await store.begin_call(self._visit, self._id, lease_seconds)

    async def answered(
        self, items: Sequence[UsageItem], status: int, body: Any, fingerprint: str | None = None
    ) -> None:
        """Book what the call used; from now on its key gives this answer. `fingerprint`, if it was not known."""
        await self._end(items, {"status": status, "body": body, "fingerprint": fingerprint})

    async def refused(self, error: OprinaError, fingerprint: str | None) -> None:
        """End a call that failed. Its key gives the failure again where asking again could only fail the same way."""
        if fingerprint is None or error.status >= _MAY_HEAL:
            await self.given_up([])
            return
        instance = self._visit.route.partition(" ")[2]
        await self.answered([], error.status, problem_document(error, instance), fingerprint)

    async def given_up(self, items: Sequence[UsageItem]) -> None:
        """End a call that came to no answer: book what it used, and let its key be used again."""
        await self._end(items, {})

    async def _end(self, items: Sequence[UsageItem], answer: dict[str, Any]) -> None:
        """A failure is logged and does not undo what was answered: the key is free again when its lease runs out."""
        if not items and self._visit.key is None:
            return
        # What only reads the ledger does not pay for the library.
        from shared.clients.retrying import while_away

        again = while_away("database_unavailable", store.end_call, seconds=_END_SECONDS)
        try:
            await again(self._visit, self._id, items, **answer)
        except OprinaError:
            logs.logger().exception("a call could not be ended", extra={"items": [item.model_dump() for item in items]})


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
