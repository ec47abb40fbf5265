"""POST /v1/auth/login: sign in with a password."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

from shared.accounts import sign_ins
from shared.accounts.models import Credentials, SignedInAnswer
from shared.accounts.passwords import PasswordSettings
from shared.accounts.tokens import SigningSettings
from shared.clients.database import DatabaseSettings, ServerSettings
from shared.http.bearer import Anyone
from shared.http.declaration import KIB, Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="accounts-login",
    path="/v1/auth/login",
    settings=(DatabaseSettings, ServerSettings, PasswordSettings, SigningSettings),
    server_calls=("find_credentials", "open_sign_in", "note_failed_sign_in", "renew_password_hash"),
    secrets=("BACKEND_KEY", "SUPABASE_SECRET_KEY", "ACCESS_TOKEN_KEYRING"),
    # A password check keeps a processor busy for a quarter of a second, so more at once would only wait for each other.
    concurrency=10,
)


@function.post(
    "Sign in with e-mail address and password",
    caller=Caller.EVERYONE,
    rate=Rate(10, burst=10),
    max_body_bytes=8 * KIB,
    responses={
        401: {"description": "The address or the password is wrong, or the person is not active."},
        403: {"description": "The address is not confirmed yet; told only to who knows the password."},
    },
)
async def login(visit: Anyone, body: Credentials, user_agent: Annotated[str | None, Header()] = None) -> SignedInAnswer:
    return await sign_ins.login(visit, body, user_agent)


main = function.entry_point()
