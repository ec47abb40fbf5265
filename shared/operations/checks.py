"""How every dependency is: all asked at once, each under its own timeout, so that none can keep the answer waiting.

Another dependency is one more `Check` in `CHECKS`: its client's cheapest call that proves that it answers, which costs
nothing and changes nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from shared.clients import agent_runtime, jwks, mail, speech, texttospeech
from shared.clients.database import DatabaseSettings, ServerSettings
from shared.operations import administration, rules, store
from shared.operations.models import Health, PartHealth
from shared.runtime import clock, logs
from shared.runtime.errors import ConfigurationError, OprinaError, Unavailable
from shared.runtime.settings import SecretStr, Settings, load
from shared.runtime.visit import Visit

# Whoever did not answer in time may still hold a thread (a name that does not resolve does); asking again at once, and
# again, would take all of them from the others.
_LEFT_ALONE_MS: Final = 30_000


class KeySettings(Settings):
    """`jwks_url`: where the public keys of access tokens are published."""

    jwks_url: str


@dataclass(frozen=True)
class Check:
    """`run` returns when the dependency answers as it should, and raises an OprinaError that says what is wrong."""

    name: str
    run: Callable[[], Awaitable[None]]
    timeout_seconds: float = 3.0


async def _keys() -> None:
    await jwks.check(load(KeySettings).jwks_url)


async def _settings() -> None:
    reasons = list(_missing((DatabaseSettings, ServerSettings, mail.MailSettings)))
    if reasons:
        raise Unavailable(f"Settings that come from secrets are not there: {'; '.join(reasons)}.")


def _missing(kinds: Iterable[type[Settings]]) -> Iterable[str]:
    """What is wrong with settings, by the names of their variables and never by their values."""
    for kind in kinds:
        try:
            settings = load(kind)
        except ConfigurationError as error:
            yield from error.problems
            continue
        for name, value in settings:
            if isinstance(value, SecretStr) and not value.get_secret_value().strip():
                yield f"the environment variable {name.upper()} is blank"


CHECKS: Final = (
    Check("database", store.ping),
    Check("agent", agent_runtime.check),
    Check("speech", speech.check),
    Check("texttospeech", texttospeech.check),
    Check("mail", mail.check),
    Check("keys", _keys),
    Check("settings", _settings),
)


async def health(visit: Visit) -> Health:
    """Ask every dependency how it is; the worst part decides the whole.

    Raises:
        Forbidden: `administrators_only`.
    """
    await administration.admit(visit)
    return await look(CHECKS)


async def look(checks: Iterable[Check]) -> Health:
    watched = list(checks)
    watch = _watches.setdefault(asyncio.get_running_loop(), _Watch())
    found = await asyncio.gather(*(watch.part(check) for check in watched))
    parts = {check.name: part for check, part in zip(watched, found, strict=True)}
    return Health(status=rules.worst(part.status for part in found), time=clock.now(), parts=parts)


class _Watch:
    """What this process knows of dependencies that kept it waiting."""

    def __init__(self) -> None:
        self._silent_until_ms: dict[str, float] = {}
        self._given_up: set[asyncio.Task[PartHealth]] = set()

    async def part(self, check: Check) -> PartHealth:
        wait_ms = self._silent_until_ms.get(check.name, 0.0) - clock.monotonic_ms()
        if wait_ms > 0:
            return _silent(f"It did not answer in time and is asked again in {math.ceil(wait_ms / 1000)} s.")
        asking = asyncio.create_task(_ask(check))
        await asyncio.wait({asking}, timeout=check.timeout_seconds)
        if asking.done():
            return asking.result()
        self._silent_until_ms[check.name] = clock.monotonic_ms() + _LEFT_ALONE_MS
        # Told to end and not waited for: what does not end by itself may not end when told to either.
        asking.cancel()
        self._given_up.add(asking)
        asking.add_done_callback(self._given_up.discard)
        return _silent("It did not answer in time.")


# One for each event loop: a process has one, tests may have several.
_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch] = WeakKeyDictionary()


def _silent(detail: str) -> PartHealth:
    return PartHealth(status="unavailable", detail=detail)


async def _ask(check: Check) -> PartHealth:
    started = clock.monotonic_ms()
    try:
        await check.run()
    except OprinaError as error:
        return PartHealth(status="unavailable", detail=error.detail, latency_ms=_since(started))
    except Exception:
        logs.logger().exception("a check failed for a reason nobody foresaw", extra={"check": check.name})
        return PartHealth(status="unavailable", detail="It could not be checked; the log says why.")
    return PartHealth(status="ok", latency_ms=_since(started))


def _since(started_ms: float) -> float:
    return round(clock.monotonic_ms() - started_ms, 1)
