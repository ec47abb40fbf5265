"""GET /v1/auth/sign-ins: the devices on which the person is signed in."""

from __future__ import annotations

from shared.accounts import service
from shared.accounts.models import SignIn
from shared.clients.database import DatabaseSettings
from shared.http.bearer import SignedIn
from shared.http.declaration import Caller, Function
from shared.http.paging import Page, Paging, encode_cursor
from shared.runtime.visit import Rate

function = Function(
    name="accounts-sign-ins",
    path="/v1/auth/sign-ins",
    settings=(DatabaseSettings,),
    secrets=("BACKEND_KEY",),
)


@function.get("The signed-in devices, the newest sign-in first", caller=Caller.PERSON, rate=Rate(60, burst=20))
async def sign_ins(person: SignedIn, page: Paging) -> Page[SignIn]:
    items, following = await service.list_sign_ins(person, limit=page.limit, after=page.after)
    return Page(items=items, next_cursor=encode_cursor(following))


main = function.entry_point()
