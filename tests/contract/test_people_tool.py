"""The command that makes the first administrator, by the whole supabase client against the real walls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.supabase import people
from shared.runtime.settings import load
from tests.support.database import Database, shared_database


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
