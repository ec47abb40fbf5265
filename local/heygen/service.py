"""HeyGen as a part of the local cloud: faults in front, its state and its videos on disk."""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local.faults import FaultBook
from local.heygen.application import create_application
from local.heygen.assets import Assets
from local.heygen.database import Database
from local.heygen.idempotency import OneAtATime, Replayed
from local.heygen.refusals import failure
from local.heygen.settings import Settings
from local.heygen.videos import Videos
from local.heygen.voice import Voice
from local.heygen.webhooks import Webhooks
from local.heygen.works import STAND_IN, Works
from local.http_faults import WithFaults
from shared.runtime import clock, ids

_ID: Final = r"[^/]+"
# What the console's faults call them: the first that fits.
_METHODS: Final = (
    ("POST", re.compile(r"/v3/videos"), "create"),
    ("GET", re.compile(r"/v3/videos"), "videos"),
    ("GET", re.compile(r"/v3/videos/statuses"), "statuses"),
    ("*", re.compile(rf"/v3/videos/batches(/{_ID})?"), "batches"),
    ("GET", re.compile(rf"/v3/videos/{_ID}"), "video"),
    ("DELETE", re.compile(rf"/v3/videos/{_ID}"), "delete"),
    ("*", re.compile(rf"/v3/assets(/{_ID})?"), "assets"),
    ("*", re.compile(r"/v3/webhooks/.*"), "webhooks"),
    ("*", re.compile(r"/v3/users/me"), "me"),
    ("*", re.compile(r"/files/.*"), "files"),
)


@dataclass(frozen=True)
class HeyGen:
    """`app` is to be served with `works.running()` open."""

    app: ASGIApp
    database: Database
    works: Works


def wall() -> float:
    """Seconds since the epoch."""
    return clock.now().timestamp()


def heygen(
    folder: Path,
    api_key: str,
    faults: FaultBook,
    voice: Voice,
    base: str,
    settings: Settings | None = None,
    now: Callable[[], float] = wall,
) -> HeyGen:
    """The stand-in over one folder, made when it is missing. `base` is the address that its links begin with."""
    database = Database(folder, settings or Settings.from_environment())
    webhooks = Webhooks(database, now)
    videos, assets = Videos(database, webhooks, base, now), Assets(database, now)
    works = Works(database, videos, webhooks, assets, voice, faults, now)
    api = create_application(database, videos, webhooks, assets, works, api_key, now)
    faulty = WithFaults(Replayed(api, database, now), STAND_IN, faults, method_of, failure)
    return HeyGen(_WithRequestId(OneAtATime(faulty)), database, works)


def method_of(scope: MutableMapping[str, Any]) -> str:
    """`create`, `videos`, `statuses`, `batches`, `video`, `delete`, `assets`, `webhooks`, `me`, `files`, or `other`."""
    for verb, pattern, name in _METHODS:
        if verb in {"*", scope["method"]} and pattern.fullmatch(str(scope["path"])):
            return name
    return "other"


class _WithRequestId:
    """Every answer has a number that support can be asked about."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def numbered(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-Id"] = str(ids.new_id())
            await send(message)

        await self._app(scope, receive, numbered)
