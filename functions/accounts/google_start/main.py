"""GET /v1/auth/google/start: where to send the browser to sign in with Google."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from shared.accounts import google
from shared.accounts.google_models import GoogleConsent, GoogleStart
from shared.clients.database import DatabaseSettings, ServerSettings
from shared.clients.google_oauth import GoogleClientSettings
from shared.http.bearer import Anyone
from shared.http.declaration import Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="accounts-google-start",
    path="/v1/auth/google/start",
    settings=(DatabaseSettings, ServerSettings, GoogleClientSettings),
    server_calls=("begin_google_sign_in",),
    secrets=("BACKEND_KEY", "SUPABASE_SECRET_KEY"),
)


@function.get("Where to send the browser to sign in with Google", caller=Caller.EVERYONE, rate=Rate(20, burst=20))
async def start(visit: Anyone, query: Annotated[GoogleStart, Query()]) -> GoogleConsent:
    return await google.start(visit, query)


main = function.entry_point()
