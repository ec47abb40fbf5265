"""POST /v1/admin/users/{id}/restore."""

from __future__ import annotations

from uuid import UUID

from shared.accounts import administration
from shared.accounts.models import PersonStatus
from shared.clients.database import DatabaseSettings
from shared.http.bearer import Administrator
from shared.http.declaration import KIB, Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="accounts-restore",
    path="/v1/admin/users/{id}/restore",
    settings=(DatabaseSettings,),
    secrets=("BACKEND_KEY",),
)


@function.post(
    "Let a suspended person in again", caller=Caller.ADMINISTRATOR, rate=Rate(60, burst=20), max_body_bytes=8 * KIB
)
async def restore(person: Administrator, id: UUID) -> PersonStatus:  # noqa: A002 - its public name
    return await administration.restore(person, id)


main = function.entry_point()
