"""POST /schedules/seal-audit: seal the hours of the audit log that are over, every hour."""

from __future__ import annotations

from shared.clients.database import DatabaseSettings, ServerSettings
from shared.http.callers import FromScheduler
from shared.http.declaration import KIB, Caller, Function, Schedule
from shared.operations import housekeeping
from shared.operations.models import Housekeeping

function = Function(
    name="operations-seal-audit",
    path="/schedules/seal-audit",
    settings=(DatabaseSettings, ServerSettings),
    server_calls=("seal_audit", "take_delivery", "settle_delivery"),
    secrets=("BACKEND_KEY", "SUPABASE_SECRET_KEY"),
    concurrency=2,
    timeout_seconds=60,
)


@function.post(
    "Seal the hours of the audit log that are over",
    caller=Caller.SCHEDULER,
    schedule=Schedule("15 * * * *", deadline_seconds=60),
    max_body_bytes=KIB,
)
async def seal_audit(tick: FromScheduler) -> Housekeeping:
    return await housekeeping.seal_audit(tick.message_id, function.timeout_seconds)


main = function.entry_point()
