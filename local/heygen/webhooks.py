"""Who is told of what: endpoints, events, and one delivery of each event to each endpoint.

https://developers.heygen.com/docs/webhooks. `Heygen-Signature` is the hex HMAC-SHA256 of the raw body alone, with the
whole secret as the key, `whsec_` included; `Heygen-Timestamp` is not signed; `Heygen-Event-Id` is the same each time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from local.heygen.database import Database
from local.heygen.models import EVENT_TYPES, EndpointChange, NewEndpoint
from local.heygen.refusals import invalid, not_found
from local.heygen.settings import WEBHOOK_GIVE_UP_SECONDS

_THIS_MACHINE: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_LONGEST_PAUSE_SECONDS: Final = 3600.0


@dataclass(frozen=True)
class Delivery:
    """`secret` is None for a callback, of which no signature is documented."""

    ordinal: int
    event_id: str
    url: str
    body: bytes
    secret: str | None
    attempts: int
    due_at: float

    def headers(self, at: float) -> dict[str, str]:
        """As sent at a moment, in seconds since the epoch."""
        headers = {
            "Content-Type": "application/json",
            "Heygen-Timestamp": str(int(at)),
            "Heygen-Event-Id": self.event_id,
        }
        if self.secret is not None:
            headers["Heygen-Signature"] = hmac.new(self.secret.encode(), self.body, hashlib.sha256).hexdigest()
        return headers


class Webhooks:
    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._db = database
        self._now = now

    def register(self, asked: NewEndpoint) -> dict[str, Any]:
        """A new endpoint with its secret, which is told only here. Raises Refused (400)."""
        _check(asked.url, asked.events)
        endpoint_id, secret = uuid4().hex, _new_secret()
        self._db.run(
            "insert into endpoints (id, url, secret, events, entity_id, status, created_at)"
            " values (?, ?, ?, ?, ?, 'enabled', ?)",
            endpoint_id, asked.url, secret, _listed(asked.events), asked.entity_id, self._now(),
        )  # fmt: skip
        return self.endpoint(endpoint_id) | {"secret": secret}

    def endpoint(self, endpoint_id: str) -> dict[str, Any]:
        return _described(self._endpoint(endpoint_id))

    def endpoints(self, limit: int, after: int) -> tuple[list[dict[str, Any]], int | None]:
        """One page, oldest first, and where the next begins."""
        rows = self._db.rows("select * from endpoints where ordinal > ? order by ordinal limit ?", after, limit + 1)
        following = rows[limit - 1]["ordinal"] if len(rows) > limit else None
        return [_described(row) for row in rows[:limit]], following

    def change(self, endpoint_id: str, change: EndpointChange) -> dict[str, Any]:
        """`events` replaces all; null means every type."""
        row = self._endpoint(endpoint_id)
        _check(change.url or row["url"], change.events)
        events = _listed(change.events) if "events" in change.model_fields_set else row["events"]
        self._db.run(
            "update endpoints set url = ?, events = ?, status = ? where id = ?",
            change.url or row["url"], events, change.status or row["status"], endpoint_id,
        )  # fmt: skip
        return self.endpoint(endpoint_id)

    def delete(self, endpoint_id: str) -> None:
        self._endpoint(endpoint_id)
        self._db.run("delete from endpoints where id = ?", endpoint_id)
        self._db.run("delete from deliveries where endpoint_id = ? and state = 'waiting'", endpoint_id)

    def rotate(self, endpoint_id: str) -> dict[str, Any]:
        """A new secret; the old one signs nothing any more, not even what is still to be sent."""
        self._endpoint(endpoint_id)
        secret = _new_secret()
        self._db.run("update endpoints set secret = ? where id = ?", secret, endpoint_id)
        return self.endpoint(endpoint_id) | {"secret": secret}

    def emit(self, kind: str, entity_id: str, data: dict[str, Any], callback_url: str | None) -> None:
        """Keep an event and what has to be sent of it. To be called inside the transaction that it tells of."""
        event_id, now = str(uuid4()), self._now()
        body = json.dumps({"event_type": kind, "event_data": data})
        self._db.run(
            "insert into events (id, type, entity_id, body, created_at) values (?, ?, ?, ?, ?)",
            event_id, kind, entity_id, body, now,
        )  # fmt: skip
        receivers = [(row["url"], row["id"]) for row in self._interested(kind, entity_id)]
        for url, endpoint_id in [*receivers, *([(callback_url, None)] if callback_url else [])]:
            self._db.run(
                "insert into deliveries (event_id, url, endpoint_id, due_at) values (?, ?, ?, ?)",
                event_id, url, endpoint_id, now,
            )  # fmt: skip

    def events(
        self, limit: int, before: int | None, kind: str | None, entity_id: str | None
    ) -> tuple[list[dict[str, Any]], int | None]:
        """One page, newest first, and where the next begins."""
        rows = self._db.rows(
            "select * from events where ordinal < coalesce(?1, ordinal + 1) and type = coalesce(?2, type)"
            " and entity_id = coalesce(?3, entity_id) order by ordinal desc limit ?4",
            before, kind, entity_id, limit + 1,
        )  # fmt: skip
        following = rows[limit - 1]["ordinal"] if len(rows) > limit else None
        return [_event(row) for row in rows[:limit]], following

    def due(self) -> list[Delivery]:
        """What has to be sent now, oldest first."""
        return self._deliveries("d.state = 'waiting' and d.due_at <= ?", self._now())

    def of_event(self, event_id: str) -> list[Delivery]:
        """Everything that was ever to be sent of an event. Raises Refused (404) when there is none."""
        if self._db.row("select id from events where id = ?", event_id) is None:
            raise not_found("event")
        return self._deliveries("d.event_id = ?", event_id)

    def record(self, delivery: Delivery, said: str, *, delivered: bool) -> None:
        """What came of an attempt: done, again later, or given up a day after the event."""
        attempts = delivery.attempts + 1
        pause = min(self._db.get("webhook_retry_seconds") * 2 ** (attempts - 1), _LONGEST_PAUSE_SECONDS)
        row = self._db.row("select created_at from events where id = ?", delivery.event_id)
        assert row is not None
        late = self._now() + pause > row["created_at"] + WEBHOOK_GIVE_UP_SECONDS
        state = "delivered" if delivered else "given up" if late else "waiting"
        self._db.run(
            "update deliveries set attempts = ?, due_at = ?, state = ?, said = ? where ordinal = ?",
            attempts, self._now() + pause, state, said, delivery.ordinal,
        )  # fmt: skip

    def _deliveries(self, where: str, *values: Any) -> list[Delivery]:
        rows = self._db.rows(
            "select d.*, e.body, p.secret, p.id as living, coalesce(p.url, d.url) as target"  # noqa: S608 - our names
            " from deliveries d join events e on e.id = d.event_id"
            f" left join endpoints p on p.id = d.endpoint_id where {where} order by d.ordinal",
            *values,
        )
        return [
            Delivery(
                row["ordinal"], row["event_id"], row["target"], row["body"].encode(), row["secret"], row["attempts"],
                row["due_at"],
            )
            for row in rows
            if row["endpoint_id"] is None or row["living"] is not None
        ]  # fmt: skip

    def _interested(self, kind: str, entity_id: str) -> list[sqlite3.Row]:
        return [
            row
            for row in self._db.rows("select * from endpoints where status = 'enabled' order by ordinal")
            if (row["events"] is None or kind in json.loads(row["events"])) and row["entity_id"] in (None, entity_id)
        ]

    def _endpoint(self, endpoint_id: str) -> sqlite3.Row:
        row = self._db.row("select * from endpoints where id = ?", endpoint_id)
        if row is None:
            raise not_found("webhook_endpoint")
        return row


def _new_secret() -> str:
    return f"whsec_{secrets.token_urlsafe(32)}"


def _listed(events: Sequence[str] | None) -> str | None:
    return None if events is None else json.dumps(list(events))


def _check(url: str, events: Sequence[str] | None) -> None:
    parts = urlsplit(url)
    if not parts.hostname or not (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _THIS_MACHINE)
    ):
        raise invalid("The address has to begin with https (or be on this machine).", "url")
    if unknown := set(events or ()) - set(EVENT_TYPES):
        raise invalid(f"There are no events named {', '.join(sorted(unknown))}.", "events")


def _described(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "endpoint_id": row["id"],
        "url": row["url"],
        "status": row["status"],
        "events": None if row["events"] is None else json.loads(row["events"]),
        "entity_id": row["entity_id"],
        "created_at": datetime.fromtimestamp(row["created_at"], UTC).isoformat().replace("+00:00", "Z"),
    }


def _event(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "event_id": row["id"],
        "event_type": row["type"],
        "event_data": json.loads(row["body"])["event_data"],
        "created_at": datetime.fromtimestamp(row["created_at"], UTC).isoformat().replace("+00:00", "Z"),
    }
