"""Answers that take the same time whether or not there was a mail to send, so that the time tells nothing."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

from shared.operations import service as operations
from shared.runtime import clock, logs

# Longer than handing a mail to a server that is well; one that is not is given up a little before.
_WHOLE_MS: Final = 1_000
_PATIENCE_MS: Final = 950


async def send_quietly(outbox_id: UUID | None, started_ms: float) -> None:
    """Send an entry of the outbox, if there is one, and end one second after `started_ms` either way.

    A mail server that takes longer is not waited for: the sweep sends what is left.
    """
    if outbox_id is not None:
        try:
            async with asyncio.timeout(_left(started_ms, _PATIENCE_MS)):
                await operations.deliver_outbox([outbox_id])
        except TimeoutError:
            logs.logger().warning("a mail was not sent in time; the sweep will send it")
    await asyncio.sleep(_left(started_ms, _WHOLE_MS))


def _left(started_ms: float, whole_ms: float) -> float:
    """Seconds."""
    return max(0.0, whole_ms - (clock.monotonic_ms() - started_ms)) / 1000
