"""GET /v1/avatars/quota: how much avatar time the person has."""

from __future__ import annotations

from shared.avatars import service
from shared.avatars.models import Quota
from shared.clients.database import DatabaseSettings
from shared.http.bearer import SignedIn
from shared.http.declaration import Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="avatars-quota",
    path="/v1/avatars/quota",
    settings=(DatabaseSettings,),
    secrets=("BACKEND_KEY",),
)


@function.get("Avatar seconds in the period that runs", caller=Caller.PERSON, rate=Rate(120, burst=40))
async def quota(person: SignedIn) -> Quota:
    return await service.get_quota(person)


main = function.entry_point()
