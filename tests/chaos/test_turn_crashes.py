"""A process that dies in the middle of a turn: what was said is not doubled, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from local.database.cluster import Cluster
from tests.support.stack import Stack, stack_folder
from tests.support.talk import Talker, assert_problem, read_events


@pytest.fixture
def stack() -> Iterator[Stack]:
    with stack_folder() as folder, Stack(folder) as running:
        yield running


async def the_gateway_dies_and_returns(stack: Stack) -> None:
    before = stack.pids()["gateway"]
    os.kill(before, signal.SIGKILL)
    async with httpx.AsyncClient(base_url=stack.base_url, trust_env=False) as client:
        for _ in range(300):
            await asyncio.sleep(0.1)
            try:
                if stack.pids()["gateway"] != before and (await client.get("/v1/health")).status_code == 200:
                    return
            except httpx.HTTPError:
                continue
    raise AssertionError("the gateway did not come back")


def let_the_lease_run_out(stack: Stack, turn_id: str) -> None:
    cluster = Cluster(stack.places.database_folder, stack.places.postgres_port)
    with psycopg.connect(cluster.administrator_url) as connection:
        connection.execute("update public.turns set lease_until = now() - interval '1 s' where id = %s", [turn_id])


async def begin_and_die(stack: Stack, talker: Talker, session: str, key: str) -> str:
    stack.set_faults({"agent": {"streamQuery": {"delay_ms": 60_000}}})
    async with talker.open_turn(session, text="Are you there?", key=key) as answer:
        started = await anext(read_events(answer))
        await the_gateway_dies_and_returns(stack)
    turn_id: str = started.data["turn_id"]
    stack.set_faults({})
    return turn_id


async def test_a_turn_whose_process_died_is_lost_once_its_lease_is_over_and_never_runs_again(stack: Stack) -> None:
    talker = Talker(stack.base_url, (await asyncio.to_thread(stack.person)).headers)
    session, key = await talker.new_session(), str(uuid4())
    turn_id = await begin_and_die(stack, talker, session, key)

    assert (await talker.stored_turn(session, turn_id))["status"] == "running"
    assert_problem(await talker.turn_document(session, text="Are you there?", key=key), 409, "request_in_progress")
    assert_problem(await talker.turn_document(session, text="Hello?"), 409, "turn_in_progress")

    let_the_lease_run_out(stack, turn_id)
    await asyncio.to_thread(stack.advance, 301)
    stored = await reaped(talker, session, turn_id)
    assert (stored["status"], stored["code"]) == ("failed", "turn_lost")
    again = await talker.turn_document(session, text="Are you there?", key=key)
    assert_problem(again, 409, "turn_lost")
    assert again.headers["idempotency-replayed"] == "true"
    assert await talker.messages(session) == []

    after = await talker.turn(session, text="Once more [[say Here I am.]]", speak="false")
    assert after.reply == "Here I am."
    await talker.aclose()


async def reaped(talker: Talker, session: str, turn_id: str) -> dict[str, Any]:
    """The turn as the housekeeping leaves it, once its schedule has come round; nobody asks for it."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        stored = await talker.stored_turn(session, turn_id)
        if stored["status"] != "running":
            return stored
        await asyncio.sleep(0.5)
    raise AssertionError("the turn was never reaped")


async def test_the_next_turn_need_not_wait_for_the_housekeeping(stack: Stack) -> None:
    talker = Talker(stack.base_url, (await asyncio.to_thread(stack.person)).headers)
    session = await talker.new_session()
    turn_id = await begin_and_die(stack, talker, session, str(uuid4()))
    let_the_lease_run_out(stack, turn_id)
    after = await talker.turn(session, text="Once more [[say Here I am.]]", speak="false")
    assert after.reply == "Here I am."
    assert (await talker.stored_turn(session, turn_id))["code"] == "turn_lost"
    await talker.aclose()


async def test_what_was_stored_survives_the_end_of_everything(stack: Stack) -> None:
    talker = Talker(stack.base_url, (await asyncio.to_thread(stack.person)).headers)
    session = await talker.new_session()
    await talker.turn(session, text="Keep this [[say Kept.]]", speak="false")
    for pid in [*stack.pids().values(), stack.pid]:
        os.kill(pid, signal.SIGKILL)
    await talker.aclose()
    await asyncio.to_thread(stack.wait, 10)
    await asyncio.to_thread(stack.start)
    talker = Talker(stack.base_url, talker.headers)
    assert [message["text"] for message in await talker.messages(session)] == ["Kept.", "Keep this [[say Kept.]]"]
    await talker.aclose()
