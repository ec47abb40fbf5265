"""The whole backend over a real database, for journeys through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.backend import Backend, open_backend
from tests.support.database import Database, shared_database
from tests.support.stack import Stack, stack_folder
from tests.support.talk import Talker


@pytest.fixture(scope="session")
def database() -> Database:
    return shared_database()


@pytest.fixture(scope="module")
async def backend(database: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    """Every function, ready to be called. A module of its own opens and closes it, since it owns the environment."""
    folder: Path = tmp_path_factory.mktemp("public")
    async with open_backend(database.environment, folder) as opened:
        yield opened


@pytest.fixture(scope="session")
def turn_stack() -> Iterator[Stack]:
    """The whole local cloud with scripted engines; the recognizer, the agent and the voice keep the real protocols."""
    with stack_folder() as folder, Stack(folder) as running:
        yield running


@pytest.fixture
def stack(turn_stack: Stack) -> Iterator[Stack]:
    """The running cloud, its faults forgotten afterwards."""
    yield turn_stack
    turn_stack.set_faults({})


@pytest.fixture
async def talker(stack: Stack) -> AsyncIterator[Talker]:
    async with a_talker(stack) as talking:
        yield talking


@pytest.fixture
async def other_talker(stack: Stack) -> AsyncIterator[Talker]:
    async with a_talker(stack) as talking:
        yield talking


@asynccontextmanager
async def a_talker(stack: Stack) -> AsyncIterator[Talker]:
    person = await asyncio.to_thread(stack.person)
    talking = Talker(stack.base_url, person.headers)
    yield talking
    await talking.aclose()
