"""POST /schedules/deliver-outbox: send what was left in the outbox, every minute."""

from __future__ import annotations

from shared.clients.database import DatabaseSettings, ServerSettings
from shared.clients.mail import MailSettings
from shared.http.callers import FromScheduler
from shared.http.declaration import KIB, Caller, Function, Schedule
from shared.operations import housekeeping
from shared.operations.models import Housekeeping

function = Function(
    name="operations-deliver-outbox",
    path="/schedules/deliver-outbox",
    settings=(DatabaseSettings, ServerSettings, MailSettings),
    server_calls=(
        "take_outbox",
        "settle_outbox",
        "take_delivery",
        "settle_delivery",
        "erase_rows",
        "erase_limits",
        "erase_mails",
        "erase_person",
        "waiting_erasures",
    ),
    secrets=("BACKEND_KEY", "SUPABASE_SECRET_KEY", "SMTP_URL"),
    concurrency=2,
    timeout_seconds=120,
)


@function.post(
    "Send what was left in the outbox",
    caller=Caller.SCHEDULER,
    schedule=Schedule("* * * * *", deadline_seconds=120),
    max_body_bytes=KIB,
)
async def deliver_outbox(tick: FromScheduler) -> Housekeeping:
    return await housekeeping.deliver_outbox(tick.message_id, function.timeout_seconds)


main = function.entry_point()
