"""POST /schedules/reap: close what a dead process left open, every five minutes."""

from __future__ import annotations

from shared.clients.database import DatabaseSettings, ServerSettings
from shared.http.callers import FromScheduler
from shared.http.declaration import KIB, Caller, Function, Schedule
from shared.operations import housekeeping
from shared.operations.models import Housekeeping

function = Function(
    name="operations-reap",
    path="/schedules/reap",
    settings=(DatabaseSettings, ServerSettings),
    server_calls=("reap_turns", "take_delivery", "settle_delivery"),
    secrets=("BACKEND_KEY", "SUPABASE_SECRET_KEY"),
    concurrency=2,
    timeout_seconds=60,
)


@function.post(
    "Close turns whose process has died",
    caller=Caller.SCHEDULER,
    schedule=Schedule("*/5 * * * *", deadline_seconds=60, retries=2),
    max_body_bytes=KIB,
)
async def reap(tick: FromScheduler) -> Housekeeping:
    return await housekeeping.reap(tick.message_id, function.timeout_seconds)


main = function.entry_point()
