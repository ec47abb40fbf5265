"""Quotas and the clock of the stand-in, as somebody set them; kept with everything else.

Gmail counts units by method, Calendar counts requests, both for each person and minute.
https://developers.google.com/workspace/gmail/api/reference/quota
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final

SCHEMA: Final = "create table if not exists settings (name text primary key, value text not null);"
DEFAULTS: Final[Mapping[str, int]] = {
    # How far the stand-in's clock is ahead of the machine's.
    "clock_ahead_seconds": 0,
    "access_token_seconds": 3599,
    "gmail_units_per_minute": 15_000,
    "calendar_requests_per_minute": 600,
    # Google answers both, for the same reason.
    "quota_status": 429,
}
_MINUTE: Final = 60.0


class Settings:
    """Whole numbers by name."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database
        database.executescript(SCHEMA)

    def all(self) -> dict[str, int]:
        kept = {name: json.loads(value) for name, value in self._db.execute("select name, value from settings")}
        return {**DEFAULTS, **kept}

    def change(self, changes: Mapping[str, Any]) -> None:
        """Raises ValueError for an unknown name or a value that is none; nothing is changed then."""
        for name, value in changes.items():
            if name not in DEFAULTS or type(value) is not int or value < 0:
                raise ValueError(f"{name} is no setting, or {value!r} no whole number.")
        if changes.get("quota_status", 429) not in {403, 429}:
            raise ValueError("quota_status is 403 or 429.")
        for name, value in changes.items():
            self._db.execute(
                "insert into settings values (?, ?) on conflict do update set value = excluded.value",
                (name, json.dumps(value)),
            )


class Quotas:
    """What each person has used in the last minute, in memory: a restart forgives."""

    def __init__(self, settings: Settings, now: Callable[[], float]) -> None:
        self._settings = settings
        self._now = now
        self._spent: dict[tuple[str, str], list[tuple[float, int]]] = {}

    def take(self, method: str, subject: str, units: int) -> int | None:
        """Spend. Returns the status to refuse with when there is too little left, else None."""
        service = method.partition(".")[0]
        settings = self._settings.all()
        limit = settings["gmail_units_per_minute" if service == "gmail" else "calendar_requests_per_minute"]
        now = self._now()
        recent = [(at, spent) for at, spent in self._spent.get((service, subject), []) if now - _MINUTE < at <= now]
        if sum(spent for _, spent in recent) + units > limit:
            self._spent[service, subject] = recent
            return settings["quota_status"]
        self._spent[service, subject] = [*recent, (now, units)]
        return None
