"""POST /v1/auth/register: become a person. The answer never tells whether the address was known."""

from __future__ import annotations

from shared.accounts import registration
from shared.accounts.mails import PageSettings
from shared.accounts.models import Registration, VerificationSent
from shared.accounts.passwords import PasswordSettings
from shared.clients.database import DatabaseSettings, ServerSettings
from shared.clients.mail import MailSettings
from shared.http.bearer import Anyone
from shared.http.declaration import KIB, Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="accounts-register",
    path="/v1/auth/register",
    settings=(DatabaseSettings, ServerSettings, PasswordSettings, MailSettings, PageSettings),
    server_calls=("register_person", "take_outbox", "settle_outbox"),
    secrets=("BACKEND_KEY", "SUPABASE_SECRET_KEY", "SMTP_URL"),
    # A password hash keeps a processor busy for a quarter of a second, so more at once would only wait for each other.
    concurrency=10,
)


@function.post(
    "Register an address; a mail says how to go on",
    caller=Caller.EVERYONE,
    rate=Rate(5, burst=5),
    max_body_bytes=8 * KIB,
    status_code=202,
)
async def register(visit: Anyone, body: Registration) -> VerificationSent:
    return await registration.register(visit, body)


main = function.entry_point()
