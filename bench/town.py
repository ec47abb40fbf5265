"""The local cloud under measurement, and the people who live in it: made once, known to every scenario."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from bench.figures import Report
from local.database.cluster import Cluster
from tests.support.stack import SCRIPTED, Stack, StackPerson

# An access token lives for 15 minutes; whoever is older than this signs in again before the next measurement.
FRESH_SECONDS = 300.0
_HANDS = 4


class Town:
    """One local cloud for all scenarios. Each starts it anew with the engines and the environment it needs."""

    def __init__(self, folder: Path) -> None:
        self.stack = Stack(folder)
        self._people: list[StackPerson] = []
        self._signed_in_at: list[float] = []

    def start(self, environment: Mapping[str, str], engines: Mapping[str, str] = SCRIPTED) -> float:
        """Start, or start again. Returns the seconds until everything was ready."""
        self.stack.stop()
        self.stack.environment = {**engines, **environment}
        seconds = self.stack.start()
        self.stack.set_faults({})
        return seconds

    def stop(self) -> None:
        self.stack.stop()

    def people(self, count: int, report: Report) -> list[StackPerson]:
        """Verified people, signed in lately."""
        began = time.monotonic()
        missing = max(count - len(self._people), 0)
        if missing:
            report.say(f"signing up {missing} people")
        with ThreadPoolExecutor(_HANDS) as hands:
            self._people += hands.map(lambda _: self.stack.person(), range(missing))
            self._signed_in_at += [time.monotonic()] * missing
            old = [at for at in range(count) if began - self._signed_in_at[at] > FRESH_SECONDS]
            for at, person in zip(old, hands.map(lambda at: self._signed_in_again(self._people[at]), old), strict=True):
                self._people[at], self._signed_in_at[at] = person, time.monotonic()
        return self._people[:count]

    def _signed_in_again(self, person: StackPerson) -> StackPerson:
        with self.stack.client() as client:
            answer = client.post(
                "/v1/auth/login",
                json={"email": person.email, "password": person.password},
                headers={"X-Forwarded-For": person.address},
            )
        assert answer.status_code == 200, answer.text
        tokens = answer.json()
        return replace(person, access_token=tokens["access_token"], refresh_token=tokens["refresh_token"])

    def ask_database(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Look at what was stored, as the database's administrator."""
        places = self.stack.places
        cluster = Cluster(places.database_folder, places.postgres_port)
        with psycopg.connect(cluster.administrator_url) as connection:
            return connection.execute(sql.encode(), parameters).fetchall()
