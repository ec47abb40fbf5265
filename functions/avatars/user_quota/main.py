"""POST /v1/admin/users/{id}/quota: another plan, more seconds."""

from __future__ import annotations

from uuid import UUID

from shared.avatars import service
from shared.avatars.models import Quota, QuotaChanges
from shared.clients.database import DatabaseSettings
from shared.http.bearer import Administrator
from shared.http.declaration import KIB, Caller, Function
from shared.runtime.visit import Rate

function = Function(
    name="avatars-user-quota",
    path="/v1/admin/users/{id}/quota",
    settings=(DatabaseSettings,),
    secrets=("BACKEND_KEY",),
)


@function.post(
    "Give a person another plan or more avatar seconds",
    caller=Caller.ADMINISTRATOR,
    idempotency="accepted",
    rate=Rate(60, burst=20),
    max_body_bytes=8 * KIB,
)
async def change_quota(person: Administrator, id: UUID, wanted: QuotaChanges) -> Quota:  # noqa: A002 - its public name
    return await service.change_quota(person, id, wanted)


main = function.entry_point()
