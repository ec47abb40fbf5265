"""DELETE /v1/auth/sign-ins/{sign_in_id}: sign out one device."""

from __future__ import annotations

from uuid import UUID

from shared.accounts import service
from shared.clients.database import DatabaseSettings
from shared.http.bearer import SignedIn
from shared.http.declaration import Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="accounts-sign-in",
    path="/v1/auth/sign-ins/{sign_in_id}",
    settings=(DatabaseSettings,),
    secrets=("BACKEND_KEY",),
)


@function.delete("Sign out one device", caller=Caller.PERSON, rate=Rate(60, burst=20), status_code=204)
async def end_sign_in(person: SignedIn, sign_in_id: UUID) -> None:
    await service.end_one_sign_in(person, sign_in_id)


main = function.entry_point()
