"""The command that makes the first administrator, by the whole supabase client against the real walls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.supabase import people
from shared.runtime.settings import load
from tests.support.database import Database, Refusal, shared_database


@pytest.fixture
def db(monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    database = shared_database()
    for name, value in database.environment.items():
        monkeypatch.setenv(name, value)
    load.cache_clear()
    yield database
    load.cache_clear()


def test_a_person_is_made_an_administrator_and_is_no_longer_one(
    db: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    person = db.person()
    email = person.serve("get_me")["email"]
    assert people.main(["administrator", email.upper()]) == 0
    assert person.serve("get_me")["is_admin"] is True
    assert people.main(["administrator", email, "--revoke"]) == 0
    assert person.serve("get_me")["is_admin"] is False
    assert "does not administer any more" in capsys.readouterr().out


def test_an_address_that_nobody_has_is_told_and_changes_nothing(
    db: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert people.main(["administrator", "nobody@oprina.test"]) == 1
    assert "Nobody with this address" in capsys.readouterr().err


def status(db: Database, person_id: str) -> str:
    ((found,),) = db.rows("select status from public.users where id = %s", person_id)
    return str(found)


def test_a_person_is_suspended_restored_and_deleted_by_address(
    db: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGE_URL", "http://page.oprina.test")
    person = db.person()
    assert people.main(["suspend", person.email.upper(), "--reason", "sends spam"]) == 0
    assert status(db, person.id) == "suspended"
    with pytest.raises(Refusal, match="person_inactive"):
        person.serve("get_me")
    assert people.main(["restore", person.email]) == 0
    assert status(db, person.id) == "active"
    assert people.main(["delete", person.email]) == 0
    assert status(db, person.id) == "deleted"
    goodbye = db.rows(
        "select payload ->> 'template' from public.outbox where kind = 'mail' and payload ->> 'to' = %s", person.email
    )
    assert ("goodbye",) in goodbye
    said = capsys.readouterr().out
    assert [word in said for word in ("is suspended", "may sign in again", "is deleted")] == [True] * 3
    assert people.main(["erasures"]) == 0
    assert "deleted people are not erased yet" in capsys.readouterr().out
    for arguments in (["restore", person.email], ["delete", person.email], ["suspend", person.email, "--reason", "x"]):
        assert people.main(arguments) == 1
    assert "Nobody has this address" in capsys.readouterr().err


def test_the_last_administrator_is_not_suspended_from_the_command_line_either(
    db: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    person = db.person()
    people.main(["administrator", person.email])
    db.run("update public.users set is_admin = false where id <> %s", person.id)
    assert people.main(["suspend", person.email, "--reason", "x"]) == 1
    assert "last administrator" in capsys.readouterr().err
    assert status(db, person.id) == "active"
    another = db.person()
    people.main(["administrator", another.email])
    assert people.main(["suspend", person.email, "--reason", "x"]) == 0


def test_without_the_backends_key_the_server_key_opens_nothing(
    db: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BACKEND_KEY", "somebody-elses")
    load.cache_clear()
    assert people.main(["administrator", db.person().serve("get_me")["email"]]) == 1


def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_SECRET_KEY", "BACKEND_KEY"):
        monkeypatch.delenv(name, raising=False)
    load.cache_clear()
    assert people.main(["administrator", "ada@oprina.test"]) == 2
    assert "SUPABASE_URL" in capsys.readouterr().err
    load.cache_clear()
