"""POST /v1/auth/logout-all: end every sign-in of the person."""

from __future__ import annotations

from shared.accounts import service
from shared.clients.database import DatabaseSettings
from shared.http.bearer import SignedIn
from shared.http.declaration import KIB, Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="accounts-logout-all",
    path="/v1/auth/logout-all",
    settings=(DatabaseSettings,),
    secrets=("BACKEND_KEY",),
)


@function.post(
    "Sign out everywhere",
    caller=Caller.PERSON,
    rate=Rate(30, burst=10),
    max_body_bytes=8 * KIB,
    status_code=204,
)
async def logout_all(person: SignedIn) -> None:
    await service.logout_everywhere(person)


main = function.entry_point()
