"""`Idempotency-Key` on what changes something (https://developers.heygen.com/docs/idempotency).

The same key gives the same answer for a day, whatever the body says the second time; while the first is still being
answered, another is 409 `request_in_progress`. A key belongs to an account, an endpoint and its resource. Only what
succeeded is kept: after a refusal the same key may be tried again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local.heygen.database import Database
from local.heygen.refusals import Refused, invalid
from local.heygen.settings import IDEMPOTENCY_SECONDS

HEADER: Final = "idempotency-key"
_KEY: Final = re.compile(r"[A-Za-z0-9_:.-]{1,255}")


class OneAtATime:
    """Stands before everything that takes time: a key that is being answered is refused."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._under_way: set[tuple[str, str]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = _key(scope)
        if key is None:
            await self._app(scope, receive, send)
            return
        if not _KEY.fullmatch(key):
            await invalid("1 to 255 letters, digits or _ : . -", "Idempotency-Key").response()(scope, receive, send)
            return
        claim = (_scope_of(scope), key)
        if claim in self._under_way:
            refused = Refused(409, "request_in_progress", "A request with this key is being answered.", None, 1)
            await refused.response()(scope, receive, send)
            return
        self._under_way.add(claim)
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way.discard(claim)


class Replayed:
    """Stands right before the work: what has succeeded is answered again and not done again."""

    def __init__(self, app: ASGIApp, database: Database, now: Callable[[], float]) -> None:
        self._app = app
        self._db = database
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = _key(scope)
        if key is None:
            await self._app(scope, receive, send)
            return
        self._db.run("delete from keys where created_at < ?", self._now() - IDEMPOTENCY_SECONDS)
        kept = self._db.row("select * from keys where scope = ? and key = ?", _scope_of(scope), key)
        if kept is not None:
            await Response(kept["body"], kept["status"], media_type="application/json")(scope, receive, send)
            return
        sent: list[Message] = []

        async def keep(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, keep)
        status = int(sent[0]["status"])
        if status < 300:
            body = b"".join(message.get("body", b"") for message in sent).decode()
            self._db.run("insert into keys values (?, ?, ?, ?, ?)", _scope_of(scope), key, status, body, self._now())
        for message in sent:
            await send(message)


def _key(scope: Scope) -> str | None:
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    return Headers(scope=scope).get(HEADER)


def _scope_of(scope: Scope) -> str:
    account = hashlib.sha256(Headers(scope=scope).get("x-api-key", "").encode()).hexdigest()
    return f"{account} {scope['path']}"
