"""The clock of a laptop: what Cloud Scheduler starts in the cloud, started here every few seconds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

SWEEP_EVERY_SECONDS = 10.0

Chore = Callable[[], Awaitable[object]]

log = logging.getLogger("local.timer")


def chores() -> Mapping[str, Chore]:
    """The housekeeping that must not wait for anybody's request."""
    # The rooms that join the outbox with something of their own.
    from shared.accounts import endings, erasure  # noqa: F401
    from shared.operations import service

    return {
        "deliver-outbox": service.sweep_outbox,
        "reap": service.reap_turns,
        "seal-audit": service.seal_audit,
    }


async def run_timer(chores: Mapping[str, Chore], every_seconds: float = SWEEP_EVERY_SECONDS) -> None:
    """Run every chore, wait, and again; a chore that fails is logged and gets its next turn like the others."""
    while True:
        await asyncio.sleep(every_seconds)
        for name, chore in chores.items():
            try:
                await chore()
            except Exception:
                log.exception("%s failed", name)
