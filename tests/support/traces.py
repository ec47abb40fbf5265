"""Where in the database a person can be found: every column of every table is searched, whatever it is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tests.support.avatars import AvatarTime
from tests.support.backend import Backend, Person
from tests.support.database import Database, DatabasePerson, hash_of
from tests.support.database_talk import Talk, completed

_TABLES = """
select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('public', 'private') and c.relkind = 'r' order by 1
"""


@dataclass(frozen=True)
class Filled:
    """A person who has left something in every place; `needles` are the words by which they can be found."""

    person: Person
    needles: tuple[str, ...]
    audit_name: str


async def traces(database: Database, needles: Sequence[str]) -> dict[str, list[str]]:
    """The rows, as text, that hold any of these words, by table; tables without one are left out."""
    found: dict[str, list[str]] = {}
    for (table,) in await database.fetch(_TABLES):
        rows = await database.fetch(
            f"select held::text from {table} held where held::text ilike any (%s) order by 1",  # noqa: S608 - our tables
            [f"%{needle}%" for needle in needles],
        )
        if rows:
            found[table] = [text for (text,) in rows]
    return found


async def fill(backend: Backend, database: Database, administrator: Person) -> Filled:
    """A person with something in every place of the register."""
    name = f"Canary{uuid4().hex[:10]}"
    person = await backend.register_person(f"{name.lower()}@oprina.test", full_name=f"{name} Lovelace")
    for what in ("suspend", "restore"):
        path = f"/v1/admin/users/{person.id}/{what}"
        answer = await backend.client.post(path, json={"reason": name}, headers=administrator.headers)
        assert answer.status_code == 200, answer.text
    signed_in = (await backend.login(person.email)).json()
    person = Person(
        person.id,
        person.email,
        person.password,
        signed_in["access_token"],
        signed_in["refresh_token"],
        signed_in["user"],
    )
    changes = {"preferred_name": name, "ai_preferences": f"Call me {name}", "preferences": {"nick": name}}
    changed = await backend.client.patch("/v1/users/me", json=changes, headers=person.headers)
    assert changed.status_code == 200, changed.text
    at_database = DatabasePerson(database, person.id, person.email, "", person.refresh_token, person.access_token)
    _converse(at_database, name)
    await _leave_avatar_time(database, at_database, name)
    await _leave_mails(backend, database, person)
    await _leave_records(database, person, name)
    ((audit_name,),) = await database.fetch("select private.audit_name(%s)", person.id)
    return Filled(person, (person.id, person.email, name), audit_name)


def speaker(database: Database) -> Filled:
    """A person who has said something and has a turn running, made quickly and with nothing else."""
    name = f"Canary{uuid4().hex[:10]}"
    held = database.person(f"{name.lower()}@oprina.test", full_name=name)
    _converse(held, name)
    person = Person(held.id, held.email, "", held.token, held.refresh_token, {})
    return Filled(person, (held.id, held.email, name), "")


def _converse(person: DatabasePerson, name: str) -> None:
    talk = Talk(person, person.session(f"About {name}"))
    talk.open(key=f"key-{name}", p_capability_hash=hash_of(str(uuid4())))
    reply = f"Hello {name}."
    outcome: dict[str, Any] = completed(reply=reply, title=f"{name} says hello")
    outcome["user_message"]["text"] = f"I am {name}"
    talk.close(outcome)
    talk.open(turn_id=str(uuid4()), key=f"running-{name}", p_capability_hash=hash_of(str(uuid4())))


async def _leave_avatar_time(database: Database, person: DatabasePerson, name: str) -> None:
    """A session that is over, so that only what is remembered of it is left, and seconds that were given."""
    time = AvatarTime(person)
    time.settle(time.live(60)["id"], 60)
    await database.execute(
        "insert into public.quota_grants (id, user_id, seconds, reason) values (%s, %s, 60, %s)",
        str(uuid4()), person.id, name,
    )  # fmt: skip


async def _leave_mails(backend: Backend, database: Database, person: Person) -> None:
    """One mail that waits and one that is dead; news of the suspension waits as well."""
    backend.mailbox.refusing = True
    for _ in range(2):
        await backend.register(person.email)
    backend.mailbox.refusing = False
    await database.execute(
        "update public.outbox set next_attempt_at = now() + interval '1 day'"
        " where payload ->> 'to' = %s or payload ->> 'person_id' = %s",
        person.email,
        person.id,
    )
    await database.execute(
        "update public.outbox set dead_at = now() where id ="
        " (select id from public.outbox where payload ->> 'to' = %s limit 1)",
        person.email,
    )


async def _leave_records(database: Database, person: Person, name: str) -> None:
    """A Google account, counts of days that are over, and what was written to us: signed in, and as a stranger."""
    await database.execute(
        "insert into public.google_identities (subject, user_id, email) values (%s, %s, %s)",
        name,
        person.id,
        person.email,
    )
    await database.execute(
        "insert into public.request_counts (user_id, day, route, count)"
        " select %s, current_date - day, route, 1"
        " from generate_series(1, 3) day, unnest('{GET /a,GET /b}'::text[]) route",
        person.id,
    )
    for user_id in (person.id, None):
        await database.execute(
            "insert into public.contact_cases (user_id, name, email, subject, message) values (%s, %s, %s, %s, %s)",
            user_id, name, person.email.upper(), "About me", f"I am {name}.",
        )  # fmt: skip
