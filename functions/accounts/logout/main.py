"""POST /v1/auth/logout: end the sign-in that the access token belongs to."""

from __future__ import annotations

from shared.accounts import service
from shared.clients.database import DatabaseSettings
from shared.http.bearer import SignedIn
from shared.http.declaration import KIB, Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="accounts-logout",
    path="/v1/auth/logout",
    settings=(DatabaseSettings,),
    secrets=("BACKEND_KEY",),
)


@function.post(
    "Sign out",
    caller=Caller.PERSON,
    rate=Rate(30, burst=10),
    max_body_bytes=8 * KIB,
    status_code=204,
)
async def logout(person: SignedIn) -> None:
    await service.logout(person)


main = function.entry_point()
