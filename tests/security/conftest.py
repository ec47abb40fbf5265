"""What the tests of the database's walls share: the run's database, and people who are in nobody else's test."""

from __future__ import annotations

import pytest

from tests.support.database import Database, DatabasePerson, shared_database


@pytest.fixture(scope="session")
def db() -> Database:
    return shared_database()


@pytest.fixture
def db_ada(db: Database) -> DatabasePerson:
    return db.person(full_name="Ada")


@pytest.fixture
def db_bob(db: Database) -> DatabasePerson:
    return db.person(full_name="Bob")
