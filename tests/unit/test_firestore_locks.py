"""The line in front of a lock: what happens when several things happen in the same moment."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from local.firestore.locks import LockKey, Locks, Wait

KEY: LockKey = ("document", "things/one")


@dataclass(eq=False)
class Somebody:
    age: int


def nobody_gives_way(_: object) -> None:
    raise AssertionError("there is no circle")


def writing(locks: Locks, written: list[str]) -> Wait:
    def proceed() -> str:
        written.append("written")
        return "told"

    return Wait(None, frozenset({KEY}), True, lambda: set(locks.holders(KEY)), proceed)


async def test_whoever_was_served_is_told_even_when_it_gives_up_in_that_moment() -> None:
    locks, reader, written = Locks(nobody_gives_way), Somebody(1), list[str]()
    await locks.acquire(reader, [KEY], exclusive=False)

    async def write() -> tuple[bool, object]:
        async with asyncio.timeout(60):
            return await locks.wait(writing(locks, written))

    writer = asyncio.create_task(write())
    await asyncio.sleep(0)
    locks.release(reader)
    writer.cancel()
    assert await writer == (True, "told")
    assert written == ["written"]


async def test_whoever_gives_up_before_is_not_served() -> None:
    locks, reader, written = Locks(nobody_gives_way), Somebody(1), list[str]()
    await locks.acquire(reader, [KEY], exclusive=False)
    writer = asyncio.create_task(locks.wait(writing(locks, written)))
    await asyncio.sleep(0)
    writer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writer
    locks.release(reader)
    assert written == []
    assert await locks.wait(writing(locks, written)) == (False, "told")


async def test_a_reader_does_not_overtake_a_writer_who_came_first() -> None:
    locks, first, second, order = Locks(nobody_gives_way), Somebody(1), Somebody(2), list[str]()
    await locks.acquire(first, [KEY], exclusive=False)
    writer = asyncio.create_task(locks.wait(writing(locks, order)))
    await asyncio.sleep(0)

    async def read() -> None:
        assert await locks.acquire(second, [KEY], exclusive=False)
        order.append("read")

    reader = asyncio.create_task(read())
    await asyncio.sleep(0)
    assert not reader.done()
    locks.release(first)
    await asyncio.gather(writer, reader)
    assert order == ["written", "read"]


async def test_the_youngest_of_a_circle_gives_way_also_across_a_write_that_holds_nothing() -> None:
    """One waits for two, two waits behind a write, and the write waits for one."""
    other: LockKey = ("document", "things/two")
    gave_way: list[Somebody] = []

    def doom(somebody: Somebody) -> None:
        gave_way.append(somebody)
        locks.abandon(somebody, lambda done: done.set_result(None))
        locks.release(somebody)

    locks, one, two, written = Locks(doom), Somebody(1), Somebody(2), list[str]()
    await locks.acquire(one, [KEY], exclusive=False)
    await locks.acquire(two, [other], exclusive=True)
    writer = asyncio.create_task(locks.wait(writing(locks, written)))
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(locks.acquire(two, [KEY], exclusive=False))]
    await asyncio.sleep(0)
    waiting.append(asyncio.create_task(locks.acquire(one, [other], exclusive=False)))
    await asyncio.gather(*waiting)
    assert gave_way == [two]
    assert locks.holds(one, other, exclusive=False)
    assert not writer.done()
    locks.release(one)
    await writer
