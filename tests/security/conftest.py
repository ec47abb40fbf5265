"""What the tests of the database's walls share: the run's database, and people who are in nobody else's test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.security.route_matrix import Town, town_of
from tests.support.database import Database, DatabasePerson, shared_database
from tests.support.stack import UNLIMITED, Stack, stack_folder


@pytest.fixture(scope="session")
def db() -> Database:
    return shared_database()


@pytest.fixture
def db_ada(db: Database) -> DatabasePerson:
    return db.person(full_name="Ada")


@pytest.fixture
def db_bob(db: Database) -> DatabasePerson:
    return db.person(full_name="Bob")


@pytest.fixture(scope="session")
def security_stack() -> Iterator[Stack]:
    """The whole local cloud with scripted engines, whose project-wide quotas nothing here can use up."""
    with stack_folder() as folder, Stack(folder, environment=UNLIMITED) as running:
        yield running


@pytest.fixture(scope="module")
async def town(security_stack: Stack) -> AsyncIterator[Town]:
    """The running cloud, and the same functions in this process. A module has one, since it owns the environment."""
    async with town_of(security_stack) as opened:
        yield opened
