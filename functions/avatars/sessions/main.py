"""GET /v1/avatars/sessions: a person's avatar sessions."""

from __future__ import annotations

from shared.avatars import service
from shared.avatars.models import AvatarSession
from shared.clients.database import DatabaseSettings
from shared.http.bearer import SignedIn
from shared.http.declaration import Caller, Function
from shared.http.paging import Page, Paging, encode_cursor
from shared.runtime.visit import Rate

function = Function(
    name="avatars-sessions",
    path="/v1/avatars/sessions",
    settings=(DatabaseSettings,),
    secrets=("BACKEND_KEY",),
)


@function.get("The person's avatar sessions, newest first", caller=Caller.PERSON, rate=Rate(120, burst=40))
async def sessions(person: SignedIn, page: Paging) -> Page[AvatarSession]:
    items, following = await service.list_sessions(person, limit=page.limit, after=page.after)
    return Page(items=items, next_cursor=encode_cursor(following))


main = function.entry_point()
