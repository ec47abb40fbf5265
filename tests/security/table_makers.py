"""A row of each table that belongs to a person or tells of one, and the columns that its owner may read.

Every table of the schema public has to stand here: tests/security/test_table_matrix.py says which one does not, and
tries what each kind of caller can do to its row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import LiteralString
from uuid import uuid4

from tests.support.avatars import AvatarTime
from tests.support.database import DatabasePerson, hash_of
from tests.support.database_talk import Talk

# Makes the row, or finds the one that everybody has, and gives the value of its key column.
Maker = Callable[[DatabasePerson], str]

ADVICE = (
    "Add it to TABLES in tests/security/table_makers.py: the column that tells its rows apart, how to make a row that "
    "belongs to a person, and, if people may read it, which columns."
)


@dataclass(frozen=True)
class Table:
    """`readable` are the columns that the owner of a row may select; nobody else may, and nobody may do more."""

    key: str
    make: Maker
    readable: tuple[str, ...] = ()


def inserted(columns: LiteralString, values: LiteralString, *, into: LiteralString) -> Maker:
    """A maker that inserts. `values` may name %(key)s (a new UUID), %(hash)s of it, and %(person)s."""

    def make(person: DatabasePerson) -> str:
        key = str(uuid4())
        hashed = hash_of(key)
        statement = f"insert into public.{into} ({columns}) values ({values})"  # noqa: S608 - literals of this file
        with person.database.administration() as connection:
            connection.execute(statement, {"key": key, "hash": hashed, "person": person.id})
        return hashed if "%(hash)s" in values and "%(key)s" not in values else key

    return make


def _message(person: DatabasePerson) -> str:
    talk = Talk(person, person.session("Mine"))
    talk.open()
    talk.close()
    return str(talk.messages()[0]["id"])


def _turn(person: DatabasePerson) -> str:
    talk = Talk(person, person.session("Mine"))
    talk.open()
    return talk.turn_id


def _seal(person: DatabasePerson) -> str:
    """Of an hour long ago: seals follow each other, and cannot be made up."""
    db = person.database
    sealed = "select number from public.audit_seals order by number limit 1"
    if not db.rows(sealed):
        db.run(
            "insert into public.audit_log (id, at, actor_kind, action)"
            " values (gen_random_uuid(), now() - interval '1 year', 'system', 'tests.made')"
        )
        db.call("seal_audit", p_limit=1)
    ((number,),) = db.rows(sealed)
    return str(number)


def _avatar_session(person: DatabasePerson) -> str:
    return str(AvatarTime(person).reserve(60)["id"])


def _avatar_quota(person: DatabasePerson) -> str:
    AvatarTime(person).quota()
    return person.id


TABLES: dict[str, Table] = {
    "audit_log": Table(
        "id",
        inserted("id, actor, actor_kind, action", "%(key)s, repeat('a', 64), 'person', 'tests.made'", into="audit_log"),
    ),
    "audit_seals": Table("number", _seal),
    "avatar_quotas": Table(
        "user_id",
        _avatar_quota,
        (
            "user_id", "plan", "limit_seconds", "period_started_at", "resets_at", "used_seconds", "reserved_seconds",
            "carried_seconds", "created_at",
        ),
    ),
    "avatar_sessions": Table(
        "id",
        _avatar_session,
        (
            "id", "user_id", "avatar_id", "quality", "language", "status", "reserved_seconds", "period_started_at",
            "started_at", "last_keep_alive_at", "ended_at", "settled_seconds", "absorbed_seconds", "estimated",
            "expires_at", "created_at",
        ),
    ),
    "contact_cases": Table(
        "key_hash",
        inserted(
            "user_id, email, subject, message, key_hash, fingerprint",
            "%(person)s, 'ada@oprina.test', 'A question', 'How?', %(hash)s, ''",
            into="contact_cases",
        ),
    ),
    "fleet_uses": Table("name", inserted("name, second, taken", "%(key)s, 1, 1", into="fleet_uses")),
    "google_identities": Table(
        "subject",
        inserted("subject, user_id, email", "%(key)s, %(person)s, 'ada@gmail.test'", into="google_identities"),
        ("subject", "user_id", "email", "linked_at", "last_used_at"),
    ),
    "idempotency_keys": Table(
        "key",
        inserted(
            "user_id, route, key, lease_until", "%(person)s, 'POST /v1/tests', %(key)s, now()", into="idempotency_keys"
        ),
    ),
    "inbox": Table(
        "message_id", inserted("source, message_id, lease_until", "'tests', %(key)s, now()", into="inbox")
    ),
    "messages": Table(
        "id",
        _message,
        ("id", "session_id", "user_id", "turn_id", "role", "kind", "text", "state", "position", "voice", "created_at"),
    ),
    "one_time_tokens": Table(
        "token_hash",
        inserted(
            "token_hash, user_id, purpose, expires_at",
            "%(hash)s, %(person)s, 'verify_email', now() + interval '1 day'",
            into="one_time_tokens",
        ),
    ),
    "outbox": Table(
        "id",
        inserted(
            "id, kind, payload, sent_at",
            "%(key)s, 'mail', jsonb_build_object('to', %(person)s::text), now()",
            into="outbox",
        ),
    ),
    # Nobody's, and there are only those that the product offers.
    "plans": Table("name", lambda _: "standard"),
    "quota_grants": Table(
        "id",
        inserted("id, user_id, seconds, reason", "%(key)s, %(person)s, 60, 'a test'", into="quota_grants"),
        ("id", "user_id", "seconds", "reason", "period_started_at", "created_at"),
    ),
    "quota_memories": Table(
        "address_hash",
        inserted(
            "address_hash, period_started_at, resets_at, used_seconds",
            "%(hash)s, now(), now() + interval '1 day', 60",
            into="quota_memories",
        ),
    ),
    "rate_limits": Table("key", inserted("key, full_at", "%(key)s, now() + interval '1 hour'", into="rate_limits")),
    "refresh_tokens": Table("token_hash", lambda person: hash_of(person.refresh_token)),
    "request_counts": Table(
        "route",
        inserted("user_id, day, route, count", "%(person)s, now()::date, %(key)s, 1", into="request_counts"),
        ("user_id", "day", "route", "count"),
    ),
    "request_tallies": Table(
        "route",
        inserted("user_id, day, route, count", "%(person)s, now()::date, %(key)s, 1", into="request_tallies"),
        ("user_id", "day", "route", "count"),
    ),
    "sessions": Table(
        "id",
        lambda person: person.session("Mine"),
        (
            "id", "user_id", "title", "title_source", "status", "message_count", "turn_count", "created_at",
            "updated_at", "last_activity_at", "ended_at",
        ),
    ),
    "sign_ins": Table(
        "id",
        lambda person: person.sign_in_id,
        ("id", "user_id", "device", "created_at", "last_used_at", "ended_at"),
    ),
    "turns": Table(
        "id",
        _turn,
        (
            "id", "session_id", "user_id", "ordinal", "kind", "status", "code", "problem", "interrupted", "result",
            "usage", "cost_micros", "timings_ms", "created_at", "completed_at",
        ),
    ),
    "usage_events": Table(
        "id",
        inserted(
            "id, user_id, kind, provider, unit, quantity",
            "%(key)s, %(person)s, 'thinking', 'google', 'output_tokens', 1",
            into="usage_events",
        ),
        (
            "id", "user_id", "turn_id", "kind", "provider", "unit", "quantity", "cost_micros", "route", "created_at",
            "avatar_session_id",
        ),
    ),
    "users": Table(
        "id",
        lambda person: person.id,
        (
            "id", "email", "email_verified_at", "status", "is_admin", "full_name", "preferred_name", "display_name",
            "avatar_url", "work_type", "ai_preferences", "timezone", "language", "preferences", "created_at",
            "updated_at",
        ),
    ),
}  # fmt: skip
