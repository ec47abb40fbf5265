"""The register of places is complete: whoever keeps something new of people says how it is erased and exported."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from shared.accounts import rooms
from shared.accounts.places import FREE_COLLECTIONS, FREE_OF_PEOPLE, OUTSIDE, places
from shared.http.discovery import ROOT
from tests.support.database import Database, shared_database

TABLES = """
select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('public', 'private') and c.relkind in ('r', 'p')
"""
# What names a person by its very form: a column user_id, or a reference to users.
NAMING = """
select distinct c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
left join pg_attribute a on a.attrelid = c.oid and a.attname = 'user_id' and not a.attisdropped
left join pg_constraint k on k.conrelid = c.oid and k.contype = 'f' and k.confrelid = 'public.users'::regclass
where n.nspname in ('public', 'private') and c.relkind in ('r', 'p') and (a.attname is not null or k.oid is not null)
"""
# References that would keep a person's row from going, or leave a row behind without its person.
NOT_CASCADING = """
select conrelid::regclass::text from pg_constraint
where contype = 'f' and confrelid = 'public.users'::regclass and confdeltype <> 'c'
"""
READABLE = """
select distinct table_name from information_schema.column_privileges
where table_schema = 'public' and grantee = 'authenticated'
"""
SHARED = sorted((ROOT / "shared").rglob("*.py"))


@pytest.fixture(scope="module")
def db() -> Database:
    return shared_database()


def placed(kind: str) -> set[str]:
    return {place.name for place in places() if place.kind == kind}


def names(db: Database, query: str) -> set[str]:
    return {str(row[0]) for row in db.rows(query)}


def test_every_table_is_a_place_or_says_why_it_names_nobody(db: Database) -> None:
    missing = names(db, TABLES) - placed("table") - FREE_OF_PEOPLE.keys()
    assert not missing, (
        f"{sorted(missing)}: add a row to the tables in shared/accounts/places.py that says how it is erased and"
        " exported, or to FREE_OF_PEOPLE why it names nobody"
    )


def test_a_table_that_refers_to_a_person_cannot_be_declared_free(db: Database) -> None:
    assert names(db, NAMING) <= placed("table")


def test_every_row_of_the_register_is_there(db: Database) -> None:
    tables = names(db, TABLES)
    assert placed("table") <= tables
    assert FREE_OF_PEOPLE.keys() <= tables
    assert not placed("table") & FREE_OF_PEOPLE.keys()


def test_a_new_table_that_names_people_would_be_noticed(db: Database) -> None:
    with psycopg.connect(db.url) as connection:
        connection.execute("create table public.diaries (id uuid, user_id uuid)")
        connection.execute("create table public.letters (id uuid, writer uuid references public.users)")
        new = {row[0] for row in connection.execute(NAMING.encode())} - placed("table")
        assert new == {"diaries", "letters"}
        assert {row[0] for row in connection.execute(NOT_CASCADING.encode())} == {"letters"}
        connection.rollback()


def test_whatever_refers_to_a_person_goes_with_them(db: Database) -> None:
    assert names(db, NOT_CASCADING) == set()


def test_what_is_not_erased_by_itself_refers_to_the_person(db: Database) -> None:
    goes_with = {place.name for place in places() if place.kind == "table" and place.erase is None}
    # The entries of the log stay, and name nobody once the key is gone.
    assert goes_with - {"audit_log", "users"} <= names(db, NAMING)


def test_a_place_that_erases_rows_may_delete_them(db: Database) -> None:
    erased = {place.name for place in places() if place.kind == "table" and place.erase is not None}
    may = "select has_table_privilege('app_owner', 'public.' || %s, 'delete')"
    assert [name for name in erased if db.rows(may, name) != [(True,)]] == []


def test_what_a_person_may_read_is_exported_and_what_they_may_not_is_kept_back(db: Database) -> None:
    exported = {place.name for place in places() if place.kind == "table" and place.export is not None}
    assert exported == names(db, READABLE) | {"audit_log"}


def test_every_place_has_one_row_that_says_what_it_holds() -> None:
    listed = [(place.kind, place.name) for place in places()]
    assert len(listed) == len(set(listed))
    assert all(place.holds for place in places())
    assert all(FREE_OF_PEOPLE.values())


def test_the_persons_own_row_is_the_last_place() -> None:
    assert places()[-1].name == "users"


def joiners() -> set[str]:
    """The modules that join the registers of places or of endings."""
    found = set()
    for path in SHARED:
        text = path.read_text()
        if path.stem not in {"places", "endings"} and re.search(r"\b(places|endings)\.join\(", text):
            found.add(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return found


def test_every_room_that_joins_is_loaded_wherever_somebody_is_erased() -> None:
    """Else a process that does not know the room would call an erasure done, and the person's row would go."""
    before = {name for name in sys.modules if name.startswith("shared.")}
    rooms.load()
    loaded = {name for name in sys.modules if name.startswith("shared.")} | before
    missing = joiners() - loaded
    source = (ROOT / "shared" / "accounts" / "rooms.py").read_text()
    unnamed = {module for module in joiners() if module.split(".")[1] not in source}
    assert not missing | unnamed, f"{sorted(missing | unnamed)}: import them in shared/accounts/rooms.py"


# Beyond the database


def test_every_outside_system_says_what_it_keeps_of_people() -> None:
    clients = {path.stem for path in (ROOT / "shared" / "clients").glob("*.py")} - {"__init__"}
    missing = clients - OUTSIDE.keys()
    assert not missing, (
        f"{sorted(missing)}: add a row to OUTSIDE in shared/accounts/places.py that names the kind of its places,"
        " or says why it keeps nothing of people"
    )
    assert OUTSIDE.keys() == clients


def test_a_system_that_keeps_something_of_people_has_a_place() -> None:
    kinds = {"table", "collection", "prefix", "provider", "queue"}
    assert {kept for kept in OUTSIDE.values() if kept in kinds} <= {place.kind for place in places()}


def collections_in(path: Path) -> Iterator[str]:
    """The Firestore collections that a source opens; one whose name is not written there is told by its expression."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr in {"collection", "collection_group"} and node.args:
            argument = node.args[0]
            yield str(argument.value) if isinstance(argument, ast.Constant) else ast.unparse(argument)


def test_every_firestore_collection_is_a_place() -> None:
    opened = {name for path in SHARED for name in collections_in(path)}
    missing = opened - placed("collection") - FREE_COLLECTIONS.keys()
    assert not missing, (
        f"{sorted(missing)}: add a row of the kind `collection` to the registry in shared/accounts/places.py, or to"
        " FREE_COLLECTIONS why it names nobody"
    )


def test_a_collection_that_is_opened_would_be_noticed(tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    source.write_text("client.collection('steps').document(x)\nclient.collection_group(NAME)\n")
    assert set(collections_in(source)) == {"steps", "NAME"}


def test_whoever_sweeps_knows_who_erases_and_who_ends_whatever_else_it_imports() -> None:
    told = (
        "import asyncio; from shared.operations import outbox, service, store\n"
        "async def nothing(limit, ids=None): return []\n"
        "store.take_outbox = nothing; asyncio.run(service.sweep_outbox()); print(sorted(outbox._senders))"
    )
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"'erase_person'", "'person_suspended'", "'mail'"} <= set(done.stdout.strip("[]\n").split(", "))
