"""A person's export: everything that is theirs, a chunk at a time, and nothing that is not."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from shared.accounts import places as registry
from shared.accounts.export import PersonExport
from shared.accounts.places import places
from tests.support.backend import Backend, Person
from tests.support.database import Database
from tests.support.traces import Filled, fill

EXPORTED = {place.name for place in places() if place.export is not None}


@pytest.fixture
async def admin(backend: Backend, database: Database) -> Person:
    person = await backend.register_person()
    await database.execute("update public.users set is_admin = true where id = %s", person.id)
    return person


@pytest.fixture
async def filled(backend: Backend, database: Database, admin: Person) -> Filled:
    return await fill(backend, database, admin)


async def exported(person: Person) -> tuple[dict[str, list[dict[str, Any]]], dict[str, Any], list[int]]:
    """The rows by place, the manifest, and how large each chunk was."""
    rows: dict[str, list[dict[str, Any]]] = {}
    sizes: list[int] = []
    export = PersonExport(UUID(person.id))
    async for place, chunk in export.pages():
        rows.setdefault(place, []).extend(json.loads(json.dumps(chunk)))
        sizes.append(len(chunk))
    return rows, export.manifest.as_json(), sizes


async def test_an_export_holds_every_row_of_the_person_in_every_place(
    backend: Backend, database: Database, filled: Filled
) -> None:
    rows, manifest, _ = await exported(filled.person)
    assert rows.keys() == EXPORTED
    for table in EXPORTED - {"users", "audit_log"}:
        query = f"select count(*) from public.{table} where user_id = %s"  # noqa: S608 - our tables
        assert await database.fetch(query, filled.person.id) == [(len(rows[table]),)], table
        assert len({json.dumps(row) for row in rows[table]}) == len(rows[table])
    (user,) = rows["users"]
    profile = (await backend.client.get("/v1/users/me", headers=filled.person.headers)).json()
    for name in ("id", "email", "full_name", "preferred_name", "ai_preferences", "preferences"):
        assert user[name] == profile[name]
    assert {message["text"] for message in rows["messages"]} == {
        f"I am {filled.needles[2]}",
        f"Hello {filled.needles[2]}.",
    }
    assert {"accounts.suspended", "accounts.restored"} <= {entry["action"] for entry in rows["audit_log"]}
    assert manifest["exported"] == {name: len(held) for name, held in rows.items()}


async def test_the_manifest_says_what_when_where_and_why_something_is_missing(filled: Filled) -> None:
    _, manifest, _ = await exported(filled.person)
    assert manifest["person_id"] == filled.person.id
    assert manifest["made_at"].endswith("+00:00")
    assert manifest["exported"].keys() | manifest["left_out"].keys() == {place.name for place in places()}
    assert not manifest["exported"].keys() & manifest["left_out"].keys()
    assert all(manifest["left_out"].values())


async def test_an_export_holds_no_hash_and_nothing_of_another_person(
    backend: Backend, database: Database, admin: Person, filled: Filled
) -> None:
    other = await fill(backend, database, admin)
    text = json.dumps((await exported(filled.person))[0])
    for needle in (*other.needles, other.audit_name, filled.audit_name, admin.id, admin.email):
        assert needle not in text
    ((admins_name,),) = await database.fetch("select private.audit_name(%s)", admin.id)
    hashed = (
        ("users", "password_hash", "id"), ("refresh_tokens", "token_hash", "user_id"),
        ("one_time_tokens", "token_hash", "user_id"), ("turns", "capability_hash", "user_id"),
        ("turns", "outcome_hash", "user_id"),
    )  # fmt: skip
    secrets = []
    for table, column, owner in hashed:
        query = f"select {column} from public.{table} where {owner} = %s and {column} is not null"  # noqa: S608 - ours
        found = await database.fetch(query, filled.person.id)
        assert found, (table, column)
        secrets += found
    for secret in (admins_name, *(value for (value,) in secrets)):
        assert secret not in text
    assert "hash" not in text


async def test_a_long_history_comes_in_small_chunks_without_a_gap_or_a_double(
    filled: Filled, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database.execute(
        "insert into public.sessions (id, user_id, title)"
        " select gen_random_uuid(), %s, 'n' from generate_series(1, 23)",
        filled.person.id,
    )
    whole, _, _ = await exported(filled.person)
    monkeypatch.setattr(registry, "_PAGE", 4)
    rows, manifest, sizes = await exported(filled.person)
    assert max(sizes) == 4
    assert rows == whole
    # Of a key of several columns, too: six rows for three days and two routes.
    assert len(rows["request_counts"]) == 6
    assert manifest["exported"]["sessions"] == 24


async def test_a_chunk_that_ends_exactly_at_the_last_row_is_not_the_end_of_a_place_too_early(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (1, 2):
        monkeypatch.setattr(registry, "_PAGE", size)
        rows, _, _ = await exported(filled.person)
        assert len(rows["messages"]) == 2
        assert len(rows["audit_log"]) >= 2
