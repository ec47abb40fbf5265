"""GET /v1/avatars/sessions/{id}: one avatar session."""

from __future__ import annotations

from uuid import UUID

from shared.avatars import service
from shared.avatars.models import AvatarSession
from shared.clients.database import DatabaseSettings
from shared.http.bearer import SignedIn
from shared.http.declaration import Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="avatars-session",
    path="/v1/avatars/sessions/{id}",
    settings=(DatabaseSettings,),
    secrets=("BACKEND_KEY",),
)


@function.get("One avatar session", caller=Caller.PERSON, rate=Rate(120, burst=40))
async def session(person: SignedIn, id: UUID) -> AvatarSession:  # noqa: A002 - its public name
    return await service.get_session(person, id)


main = function.entry_point()
