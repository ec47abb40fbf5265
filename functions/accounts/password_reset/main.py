"""POST /v1/auth/password/reset: set a new password with the token from the mail, and be signed in."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

from shared.accounts import password_reset
from shared.accounts.mails import PageSettings
from shared.accounts.models import PasswordReset, SignedInAnswer
from shared.accounts.passwords import PasswordSettings
from shared.accounts.tokens import SigningSettings
from shared.clients.database import DatabaseSettings, ServerSettings
from shared.clients.mail import MailSettings
from shared.http.bearer import Anyone
from shared.http.declaration import KIB, Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="accounts-password-reset",
    path="/v1/auth/password/reset",
    settings=(DatabaseSettings, ServerSettings, PasswordSettings, SigningSettings, MailSettings, PageSettings),
    server_calls=("find_password_reset", "reset_password", "take_outbox", "settle_outbox"),
    secrets=("BACKEND_KEY", "SUPABASE_SECRET_KEY", "ACCESS_TOKEN_KEYRING", "SMTP_URL"),
    # A password hash keeps a processor busy for a quarter of a second, so more at once would only wait for each other.
    concurrency=10,
)


@function.post(
    "Set a new password with the token from the mail, and sign in",
    caller=Caller.EVERYONE,
    rate=Rate(10, burst=10),
    max_body_bytes=8 * KIB,
)
async def reset(
    visit: Anyone, body: PasswordReset, user_agent: Annotated[str | None, Header()] = None
) -> SignedInAnswer:
    return await password_reset.reset(visit, body, user_agent)


main = function.entry_point()
