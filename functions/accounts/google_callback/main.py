"""GET /v1/auth/google/callback: sends the browser that comes from Google on to the page. It exchanges nothing."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from fastapi.responses import RedirectResponse

from shared.accounts import google
from shared.accounts.mails import PageSettings
from shared.clients.database import DatabaseSettings, ServerSettings
from shared.http.bearer import Anyone
from shared.http.declaration import Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="accounts-google-callback",
    path="/v1/auth/google/callback",
    settings=(DatabaseSettings, ServerSettings, PageSettings),
    server_calls=("pass_google_callback",),
    secrets=("BACKEND_KEY", "SUPABASE_SECRET_KEY"),
)


@function.get(
    "Send the browser on from Google to the page",
    caller=Caller.EVERYONE,
    rate=Rate(30, burst=30),
    status_code=303,
    response_class=RedirectResponse,
    responses={
        303: {
            "description": (
                "To the page, with `google=sign-in` and Google's `state` and `code`, or `error`, behind the #. "
                "The page hands them to `complete`."
            )
        }
    },
)
async def callback(
    visit: Anyone,
    state: Annotated[str | None, Query()] = None,
    code: Annotated[str | None, Query()] = None,
    error: Annotated[str | None, Query()] = None,
) -> RedirectResponse:
    return RedirectResponse(await google.callback(visit, state, code, error), 303)


main = function.entry_point()
