"""The registry of every place that holds something of a person: how it is exported, and how it is erased.

A room that keeps something of people anywhere else than in a table of its own joins with `join`, when it is imported,
and `rooms.load` imports it. A test finds the tables, collections, prefixes and providers that nobody has registered.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from shared.accounts import lifecycle_store as store

PlaceKind = Literal["table", "collection", "prefix", "provider", "queue"]
Rows = list[dict[str, Any]]
Export = Callable[[UUID], AsyncIterator[Rows]]
Erase = Callable[[UUID], Awaitable[None]]

_PAGE: Final = 500


class NotYet(Exception):
    """The place cannot be erased before something else has happened; the erasure comes back to it."""


@dataclass(frozen=True)
class Place:
    """Where something of a person lies.

    `export` yields it in pages; None says that it is not exported, and `holds` says why. `erase` may be repeated and
    ends when nothing is left; None says that it goes with the person's own row, which is erased last. `told_in` are the
    tables that say what lies in this place (a grant's token, an object's key): they are kept until it is empty.
    """

    kind: PlaceKind
    name: str
    holds: str
    export: Export | None
    erase: Erase | None
    told_in: tuple[str, ...] = ()


def _rows_of(table: str) -> Export:
    async def export(person_id: UUID) -> AsyncIterator[Rows]:
        after: str | None = None
        while True:
            rows, after = await store.export_rows(person_id, table, after, _PAGE)
            if rows:
                yield rows
            if after is None:
                return

    return export


def _erasing(table: str) -> Erase:
    async def erase(person_id: UUID) -> None:
        while await store.erase_rows(person_id, table, _PAGE):
            pass

    return erase


async def _audit(person_id: UUID) -> AsyncIterator[Rows]:
    after: str | None = None
    while True:
        rows, after = await store.export_audit(person_id, after, _PAGE)
        if rows:
            yield rows
        if after is None:
            return


async def _erase_limits(person_id: UUID) -> None:
    await store.erase_limits(person_id)


async def _erase_mails(person_id: UUID) -> None:
    if await store.erase_mails(person_id):
        raise NotYet("the goodbye is still on its way")


def table(name: str, holds: str, *, exported: bool = True, erased_first: bool = True) -> Place:
    """A table whose `user_id` says whose its rows are. Large ones are erased before the person's own row is."""
    return Place("table", name, holds, _rows_of(name) if exported else None, _erasing(name) if erased_first else None)


# What is erased is erased in this order: what hangs on something else before it.
_TABLES: Final = (
    table("messages", "what was said and answered"),
    table("turns", "questions and answers, and how they went"),
    table("sessions", "conversations"),
    table("idempotency_keys", "answers kept for repeated requests, for a day", exported=False),
    table("one_time_tokens", "hashed links and states, for minutes or a day", exported=False),
    table("refresh_tokens", "hashed refresh tokens", exported=False),
    table("sign_ins", "devices: browsers and network addresses"),
    table("request_tallies", "how often what was asked for, today"),
    table("request_counts", "how often what was asked for, by day"),
    table("contact_cases", "what was written to us while signed in: it may name others, so it is not exported",
          exported=False),
    table("google_identities", "the Google account that signs the person in", erased_first=False),
    table("quota_grants", "avatar seconds given on top of a plan", erased_first=False),
    table("avatar_sessions", "avatar sessions: when, how long, and what was charged", erased_first=False),
    table("avatar_quotas", "avatar seconds in the period that runs", erased_first=False),
    table("usage_events", "the ledger of what was used", erased_first=False),
    Place("table", "rate_limits", "when the person asked for what last; no content", None, _erase_limits),
    Place("table", "outbox", "mails to the person that have not left yet", None, _erase_mails),
    Place("table", "audit_log", "what was done by and to the person, under a name that only the next place can tell",
          _audit, None),
    Place("table", "audit_keys", "what makes the person recognisable in the audit log", None, None),
    table("users", "the profile", erased_first=False),
)  # fmt: skip

# Tables in which nobody is named, nobody is meant, and nothing can be followed to anybody.
FREE_OF_PEOPLE: Final[Mapping[str, str]] = {
    "audit_seals": "hashes over hours of the audit log",
    "backend_keys": "hashes of the backend's own keys",
    "fleet_uses": "how much of the project's quotas is used",
    "inbox": "which deliveries have been seen, by the deliverer's ids",
    "migrations": "which migrations were applied",
    "plans": "how many avatar seconds each plan has",
    "quota_keys": "what the addresses in quota_memories are hashed with",
    "quota_memories": "what deleted accounts had used, by a hash that only the database's own key makes",
    "settings": "how the gate is configured",
}

# Firestore collections that name nobody.
FREE_COLLECTIONS: Final[Mapping[str, str]] = {}

# What the system behind each client keeps of people: the kind of its places, or why it keeps nothing.
OUTSIDE: Final[Mapping[str, PlaceKind | str]] = {
    "database": "table",
    "mail": "mails are handed on; what has not left yet is in the table outbox",
    "agent_runtime": "sessions live in memory for one turn",
    "speech": "Google keeps no audio of requests without data logging, which is not switched on",
    "texttospeech": "Google keeps no text of requests",
    "google_oauth": "the tokens that sign somebody in are read once and thrown away",
    "google_auth": "our own credentials",
    "jwks": "public keys",
    "public_objects": "public documents",
    "storage": "objects under the keys of whoever puts them there, who names them as places of their own",
    "storage_connection": "the same",
    "storage_files": "the same",
    "connections": "no system: how HTTP connections are kept",
    "grpc_channels": "no system: how gRPC channels are kept",
    "retrying": "no system: how calls are tried again",
}

_places: dict[tuple[PlaceKind, str], Place] = {(place.kind, place.name): place for place in _TABLES}


def join(*places: Place) -> None:
    """Register places of another room. Those of rooms are erased before the tables they are told of in."""
    for place in places:
        _places[place.kind, place.name] = place


def places() -> tuple[Place, ...]:
    """All of them, in the order in which they are erased."""
    others = [place for place in _places.values() if place not in _TABLES]
    return (*others, *_TABLES)
