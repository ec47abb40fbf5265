"""POST /v1/auth/email/verify: prove an address with the token from the mail, and be signed in."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

from shared.accounts import sign_ins
from shared.accounts.models import SignedInAnswer, VerificationToken
from shared.accounts.tokens import SigningSettings
from shared.clients.database import DatabaseSettings, ServerSettings
from shared.http.bearer import Anyone
from shared.http.declaration import KIB, Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="accounts-verify",
    path="/v1/auth/email/verify",
    settings=(DatabaseSettings, ServerSettings, SigningSettings),
    server_calls=("verify_email", "open_sign_in"),
    secrets=("BACKEND_KEY", "SUPABASE_SECRET_KEY", "ACCESS_TOKEN_KEYRING"),
)


@function.post(
    "Confirm an e-mail address and sign in",
    caller=Caller.EVERYONE,
    rate=Rate(20, burst=20),
    max_body_bytes=8 * KIB,
    responses={401: {"description": "The person is not active."}},
)
async def verify(
    visit: Anyone, body: VerificationToken, user_agent: Annotated[str | None, Header()] = None
) -> SignedInAnswer:
    return await sign_ins.verify_email(visit, body, user_agent)


main = function.entry_point()
