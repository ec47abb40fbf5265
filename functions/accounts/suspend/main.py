"""POST /v1/admin/users/{id}/suspend."""

from __future__ import annotations

from uuid import UUID

from shared.accounts import administration
from shared.accounts.models import PersonStatus, Suspension
from shared.clients.database import DatabaseSettings
from shared.http.bearer import Administrator
from shared.http.declaration import KIB, Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="accounts-suspend",
    path="/v1/admin/users/{id}/suspend",
    settings=(DatabaseSettings,),
    secrets=("BACKEND_KEY",),
)


@function.post("Suspend a person", caller=Caller.ADMINISTRATOR, rate=Rate(60, burst=20), max_body_bytes=8 * KIB)
async def suspend(person: Administrator, id: UUID, wanted: Suspension) -> PersonStatus:  # noqa: A002 - its public name
    return await administration.suspend(person, id, wanted)


main = function.entry_point()
