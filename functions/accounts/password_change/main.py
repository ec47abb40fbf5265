"""POST /v1/auth/password/change: another password, for who knows the current one."""

from __future__ import annotations

from shared.accounts import password_change
from shared.accounts.mails import PageSettings
from shared.accounts.models import PasswordChange
from shared.accounts.passwords import PasswordSettings
from shared.clients.database import DatabaseSettings, ServerSettings
from shared.clients.mail import MailSettings
from shared.http.bearer import SignedIn
from shared.http.declaration import KIB, Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="accounts-password-change",
    path="/v1/auth/password/change",
    settings=(DatabaseSettings, ServerSettings, PasswordSettings, MailSettings, PageSettings),
    server_calls=("find_credentials", "take_outbox", "settle_outbox"),
    secrets=("BACKEND_KEY", "SUPABASE_SECRET_KEY", "SMTP_URL"),
    # Two password hashes keep a processor busy for half a second, so more at once would only wait for each other.
    concurrency=10,
)


@function.post(
    "Change the password; every other device is signed out",
    caller=Caller.PERSON,
    rate=Rate(5, burst=5),
    max_body_bytes=8 * KIB,
    status_code=204,
    responses={403: {"description": "`password_wrong`: this is not the current password."}},
)
async def change(person: SignedIn, body: PasswordChange) -> None:
    await password_change.change(person, body)


main = function.entry_point()
