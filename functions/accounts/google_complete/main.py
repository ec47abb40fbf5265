"""POST /v1/auth/google/complete: finish signing in with Google, in the browser that began."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header

from shared.accounts import google
from shared.accounts.google_models import GoogleCompletion
from shared.accounts.models import SignedInAnswer
from shared.accounts.tokens import SigningSettings
from shared.clients.database import DatabaseSettings, ServerSettings
from shared.clients.google_oauth import GoogleExchangeSettings
from shared.http.bearer import Anyone
from shared.http.declaration import KIB, Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="accounts-google-complete",
    path="/v1/auth/google/complete",
    settings=(DatabaseSettings, ServerSettings, SigningSettings, GoogleExchangeSettings),
    server_calls=("claim_google_sign_in", "release_google_sign_in", "finish_google_sign_in"),
    secrets=("BACKEND_KEY", "SUPABASE_SECRET_KEY", "ACCESS_TOKEN_KEYRING", "GOOGLE_CLIENT_SECRET"),
)

_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {
        "description": (
            "`state_invalid`: the flow was not begun in this browser, took too long, or has ended; "
            "`google_code_invalid`: Google does not accept the code. Begin again."
        )
    },
    403: {
        "description": (
            "`google_email_unverified`: Google confirms no address for this account; `google_address_unowned`: "
            "a person with this address exists, and Google does not own the address."
        )
    },
    409: {"description": "`google_account_differs`: the person with this address is linked to another Google account."},
    502: {"description": "`google_refused`: Google does not accept our client. Trying again does not help."},
    503: {
        "description": (
            "`google_unavailable`: Google does not answer; the same request may be sent again within the flow's time. "
            "Or another dependency is away."
        )
    },
}


@function.post(
    "Finish signing in with Google",
    caller=Caller.EVERYONE,
    rate=Rate(10, burst=10),
    max_body_bytes=8 * KIB,
    responses=_REFUSALS,
)
async def complete(
    visit: Anyone, body: GoogleCompletion, user_agent: Annotated[str | None, Header()] = None
) -> SignedInAnswer:
    return await google.complete(visit, body, user_agent)


main = function.entry_point()
