"""LiveAvatar as a part of the local cloud: faults and rate limits in front, its state on disk."""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from local.faults import FaultBook
from local.http_faults import WithFaults
from local.liveavatar.account import STAND_IN, Account
from local.liveavatar.application import create_application
from local.liveavatar.limits import RateLimited
from local.liveavatar.refusals import failure
from local.liveavatar.settings import Settings
from local.liveavatar.stage import Stage
from shared.runtime import clock

_ID: Final = r"[^/]+"
# What the console's faults call them: the first that fits.
_METHODS: Final = (
    (re.compile(r"/v1/sessions"), "sessions"),
    (re.compile(r"/v1/sessions/(token|start|stop|keep-alive)"), None),
    (re.compile(rf"/v1/sessions/{_ID}"), "session"),
    (re.compile(rf"/v1/sessions/{_ID}/(transcript|events)"), None),
    (re.compile(rf"/v1/avatars(/{_ID})?"), "avatars"),
    (re.compile(rf"/v1/voices(/{_ID})?"), "voices"),
    (re.compile(r"/v1/users/(credits)"), None),
)


@dataclass(frozen=True)
class LiveAvatar:
    """`app` is to be served with `stage.running()` open, and WebSockets by `lite.PongsWithheld`."""

    app: ASGIApp
    account: Account
    stage: Stage


def wall() -> float:
    """Seconds since the epoch."""
    return clock.now().timestamp()


def liveavatar(
    file: Path,
    api_key: str,
    faults: FaultBook,
    settings: Settings | None = None,
    now: Callable[[], float] = wall,
) -> LiveAvatar:
    """The stand-in over one file, whose folder is made when it is missing."""
    account = Account(file, settings or Settings.from_environment(), faults, now)
    stage = Stage(account, faults)
    api = create_application(account, api_key, stage)
    limited = RateLimited(api, lambda: int(account.get("rate_per_second")), now, method_of)
    faulty = WithFaults(limited, STAND_IN, faults, method_of, failure)
    # Pages of any origin may call, as at the provider: each call needs a key or a session's token.
    app = CORSMiddleware(
        faulty,
        allow_origin_regex=".*",
        allow_methods=["*"],
        allow_headers=["*"],
        allow_credentials=True,
        expose_headers=["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After"],
    )
    return LiveAvatar(app, account, stage)


def method_of(scope: MutableMapping[str, Any]) -> str:
    """`token`, `start`, `stop`, `keep-alive`, `sessions` (the list), `session`, `transcript`, `events`, `avatars`,
    `voices`, `credits`, or `other`.
    """
    for pattern, name in _METHODS:
        if found := pattern.fullmatch(str(scope["path"])):
            return name or str(found.group(1))
    return "other"
