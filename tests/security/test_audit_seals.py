"""Nobody changes the audit log without being found out, and it names nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest

from infra.supabase.audit import main, verify
from shared.runtime.ids import new_id
from tests.support.database import Database, DatabasePerson, throwaway_database

CHANGE = "update public.audit_log set action = 'tests.harmless' where id in (select id from public.audit_log limit 1)"
REMOVE = "delete from public.audit_log where id in (select id from public.audit_log limit 1)"


@pytest.fixture(scope="module")
def own() -> Iterator[Database]:
    """A database whose log no other test writes into."""
    with throwaway_database() as database:
        yield database


@pytest.fixture
def sealed(own: Database) -> Iterator[Database]:
    """Three hours of entries, sealed; the log is empty again afterwards."""
    for hours in (5, 4, 2):
        for _ in range(3):
            entry(own, hours)
    assert own.call("seal_audit", p_limit=10)["sealed"] == 3
    yield own
    tamper(own, "truncate public.audit_log, public.audit_seals")


def entry(own: Database, hours_ago: float) -> None:
    own.run(
        "insert into public.audit_log (id, at, actor_kind, action, detail) values (gen_random_uuid(),"
        " clock_timestamp() - make_interval(hours => %s), 'system', 'tests.happened', %s::jsonb)",
        int(hours_ago),
        json.dumps({"why": 'Ünïcödé, \\ and "', "numbers": [1, 2.5, None]}),
    )


def tamper(own: Database, statement: str) -> None:
    """As a superuser who switches every guard off."""
    with psycopg.connect(own.local._cluster.administrator_url, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute(statement.encode())


def verdict(own: Database) -> str | None:
    with psycopg.connect(own.url) as connection:
        _, broken = verify(connection)
    return broken.reason if broken else None


def test_a_log_that_nobody_touched_is_found_whole(sealed: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--database-url", sealed.url, "verify"]) == 0
    assert "All 3 sealed hours" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (CHANGE, "is not what it was"),
        (REMOVE, "were sealed"),
        ("delete from public.audit_seals where number = 2", "does not follow"),
        ("update public.audit_seals set seal = previous where number = 3", "is not what it was"),
    ],
)  # fmt: skip
def test_what_was_changed_past_every_guard_is_found(sealed: Database, statement: str, reason: str) -> None:
    tamper(sealed, statement)
    found = verdict(sealed)
    assert found is not None
    assert reason in found


def test_an_entry_slipped_between_sealed_hours_is_found(sealed: Database) -> None:
    tamper(
        sealed,
        "insert into public.audit_log (id, at, actor_kind, action) values (gen_random_uuid(),"
        " date_trunc('hour', now()) - interval '2 hours 30 minutes', 'system', 'tests.slipped')",
    )
    assert verdict(sealed) is not None


def test_nothing_is_written_into_a_sealed_hour(sealed: Database) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        entry(sealed, 4)


def test_the_hour_that_runs_is_not_sealed(own: Database) -> None:
    entry(own, 0)
    assert own.call("seal_audit", p_limit=10)["sealed"] == 0
    tamper(own, "truncate public.audit_log, public.audit_seals")


@pytest.mark.parametrize("statement", ["update public.audit_log set action = 'tests.x'", "delete from public.audit_log",
                                       "truncate public.audit_log", "delete from public.audit_seals"])  # fmt: skip
def test_even_the_owner_of_the_tables_cannot_change_them(sealed: Database, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        sealed.run(statement)


def test_a_person_stands_in_the_log_under_a_name_that_dies_with_them(db: Database, db_ada: DatabasePerson) -> None:
    db.call("suspend_address", p_email=db_ada.email, p_reason="a test", p_outbox_id=str(new_id()))
    ((name,),) = db.rows("select private.audit_name(%s)", db_ada.id)
    ((detail,),) = db.rows(
        "select detail::text from public.audit_log where subject = %s and action = 'accounts.suspended'", name
    )
    assert db_ada.id not in detail
    assert db_ada.email not in detail
    db.call(
        "delete_address", p_email=db_ada.email, p_goodbye_id=str(new_id()), p_goodbye={}, p_erasure_id=str(new_id())
    )
    db.call("erase_person", p_user_id=db_ada.id)
    assert db.rows("select count(*) from private.audit_keys where user_id = %s", db_ada.id) == [(0,)]
    assert db.rows("select count(*) > 0 from public.audit_log where subject = %s", name) == [(True,)]
