"""GET PATCH DELETE /v1/users/me: the person's own profile, and the end of the account."""

from __future__ import annotations

from shared.accounts import service
from shared.accounts.models import Profile, ProfileChanges
from shared.clients.database import DatabaseSettings
from shared.http.bearer import SignedIn
from shared.http.declaration import KIB, Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="accounts-me",
    path="/v1/users/me",
    settings=(DatabaseSettings,),
    secrets=("BACKEND_KEY",),
)


@function.get("The person who is signed in", caller=Caller.PERSON, rate=Rate(120, burst=40))
async def me(person: SignedIn) -> Profile:
    return await service.me(person)


@function.patch(
    "Change fields of the profile; null clears one",
    caller=Caller.PERSON,
    rate=Rate(60, burst=20),
    max_body_bytes=32 * KIB,
)
async def update_me(person: SignedIn, body: ProfileChanges) -> Profile:
    return await service.update_me(person, body)


@function.delete("Delete the account, for good", caller=Caller.PERSON, rate=Rate(10, burst=5), status_code=204)
async def delete_me(person: SignedIn) -> None:
    # What the profile is asked for all the time need not load what erases.
    from shared.accounts import deletion

    await deletion.delete_me(person)


main = function.entry_point()
