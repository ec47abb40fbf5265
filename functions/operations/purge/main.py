"""POST /schedules/purge: delete what nobody can need any more, every night."""

from __future__ import annotations

from shared.clients.database import DatabaseSettings, ServerSettings
from shared.http.callers import FromScheduler
from shared.http.declaration import KIB, Caller, Function, Schedule
from shared.operations import housekeeping
from shared.operations.models import Housekeeping

function = Function(
    name="operations-purge",
    path="/schedules/purge",
    settings=(DatabaseSettings, ServerSettings),
    server_calls=("purge", "purge_contact_cases", "take_delivery", "settle_delivery"),
    secrets=("BACKEND_KEY", "SUPABASE_SECRET_KEY"),
    concurrency=2,
    timeout_seconds=300,
)


@function.post(
    "Delete what nobody can need any more",
    caller=Caller.SCHEDULER,
    schedule=Schedule("17 3 * * *", deadline_seconds=300, retries=3, min_backoff_seconds=310),
    max_body_bytes=KIB,
)
async def purge(tick: FromScheduler) -> Housekeeping:
    return await housekeeping.purge(tick.message_id, function.timeout_seconds)


main = function.entry_point()
