"""POST /v1/auth/email/resend: another verification mail, for whoever waits for one. The answer tells nothing."""

from __future__ import annotations

from shared.accounts import registration
from shared.accounts.mails import PageSettings
from shared.accounts.models import EmailOnly, VerificationSent
from shared.clients.database import DatabaseSettings, ServerSettings
from shared.clients.mail import MailSettings
from shared.http.bearer import Anyone
from shared.http.declaration import KIB, Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="accounts-resend",
    path="/v1/auth/email/resend",
    settings=(DatabaseSettings, ServerSettings, MailSettings, PageSettings),
    server_calls=("resend_verification", "take_outbox", "settle_outbox"),
    secrets=("BACKEND_KEY", "SUPABASE_SECRET_KEY", "SMTP_URL"),
)


@function.post(
    "Send the verification mail again",
    caller=Caller.EVERYONE,
    rate=Rate(5, burst=5),
    max_body_bytes=8 * KIB,
    status_code=202,
)
async def resend(visit: Anyone, body: EmailOnly) -> VerificationSent:
    return await registration.resend(visit, body)


main = function.entry_point()
