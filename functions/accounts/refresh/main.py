"""POST /v1/auth/refresh: exchange a refresh token for a new pair of tokens."""

from __future__ import annotations

from shared.accounts import sign_ins
from shared.accounts.models import RefreshToken, SignedInAnswer
from shared.accounts.tokens import SigningSettings
from shared.clients.database import DatabaseSettings, ServerSettings
from shared.http.bearer import Anyone
from shared.http.declaration import KIB, Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="accounts-refresh",
    path="/v1/auth/refresh",
    settings=(DatabaseSettings, ServerSettings, SigningSettings),
    server_calls=("rotate_refresh",),
    secrets=("BACKEND_KEY", "SUPABASE_SECRET_KEY", "ACCESS_TOKEN_KEYRING"),
)


@function.post(
    "Exchange a refresh token",
    caller=Caller.EVERYONE,
    rate=Rate(60, burst=30),
    max_body_bytes=8 * KIB,
    responses={
        401: {"description": "The refresh token is unknown, expired or was used before, or its sign-in has ended."}
    },
)
async def refresh(visit: Anyone, body: RefreshToken) -> SignedInAnswer:
    return await sign_ins.refresh(visit, body)


main = function.entry_point()
