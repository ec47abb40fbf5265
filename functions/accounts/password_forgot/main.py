"""POST /v1/auth/password/forgot: a mail to set a new password. The answer never tells whether the address is known."""

from __future__ import annotations

from shared.accounts import password_forgotten
from shared.accounts.mails import PageSettings
from shared.accounts.models import EmailOnly, ResetSent
from shared.clients.database import DatabaseSettings, ServerSettings
from shared.clients.mail import MailSettings
from shared.http.bearer import Anyone
from shared.http.declaration import KIB, Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="accounts-password-forgot",
    path="/v1/auth/password/forgot",
    settings=(DatabaseSettings, ServerSettings, MailSettings, PageSettings),
    server_calls=("ask_password_reset", "take_outbox", "settle_outbox"),
    secrets=("BACKEND_KEY", "SUPABASE_SECRET_KEY", "SMTP_URL"),
)


@function.post(
    "Ask for a mail to set a new password",
    caller=Caller.EVERYONE,
    rate=Rate(5, burst=5),
    max_body_bytes=8 * KIB,
    status_code=202,
)
async def forgot(visit: Anyone, body: EmailOnly) -> ResetSent:
    return await password_forgotten.forgot(visit, body)


main = function.entry_point()
