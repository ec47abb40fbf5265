"""The Firestore stand-in's listeners: the official client's watch, and the stream below it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.firestore_v1 import FieldFilter
from google.cloud.firestore_v1.types import firestore as types

from tests.support.firestore import ROOT, SECONDS, Store, async_client, blocking_client, running_store, start_process

Kind = types.TargetChange.TargetChangeType


@pytest.fixture(scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Store]:
    async with running_store(tmp_path_factory.mktemp("listening")) as opened:
        yield opened


@pytest.fixture
def things(store: Store) -> Any:
    return store.collection("things")


class Watching:
    """What a watch of the synchronous client was told: the documents each time, and the changes by their kind."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.changes: list[list[tuple[str, str]]] = []
        self._news = threading.Condition()

    def __call__(self, snapshots: list[Any], changes: list[Any], _: Any) -> None:
        with self._news:
            self.told.append({snapshot.id: snapshot.to_dict() for snapshot in snapshots if snapshot.exists})
            self.changes.append([(change.type.name, change.document.id) for change in changes])
            self._news.notify_all()

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        def wait() -> dict[str, Any]:
            with self._news:
                assert self._news.wait_for(lambda: bool(self.told) and holds(self.told[-1]), SECONDS), self.told
                return self.told[-1]

        return await asyncio.to_thread(wait)


@contextlib.asynccontextmanager
async def watching(port: int, choose: Callable[[Any], Any]) -> AsyncIterator[Watching]:
    seen = Watching()

    def begin() -> tuple[Any, Any]:
        client = blocking_client(port)
        return client, choose(client).on_snapshot(seen)

    client, watch = await asyncio.to_thread(begin)
    try:
        yield seen
    finally:
        await asyncio.to_thread(watch.unsubscribe)
        await asyncio.to_thread(client.close)


# the official client's watch


async def test_a_document_is_watched_from_before_it_exists_until_it_is_gone(store: Store, things: Any) -> None:
    one = things.document("one")
    async with watching(store.port, lambda client: client.document(f"{things.id}/one")) as seen:
        await seen.until(lambda told: told == {})
        await one.set({"n": 1})
        await seen.until(lambda told: told == {"one": {"n": 1}})
        await one.update({"n": 2})
        await seen.until(lambda told: told == {"one": {"n": 2}})
        await one.delete()
        await seen.until(lambda told: told == {})
    assert seen.changes == [[], [("ADDED", "one")], [("MODIFIED", "one")], [("REMOVED", "one")]]


async def test_a_query_is_told_what_comes_changes_and_goes(store: Store, things: Any) -> None:
    await things.document("a").set({"n": 1})
    await things.document("b").set({"n": 9})

    def query(client: Any) -> Any:
        return client.collection(things.id).where(filter=FieldFilter("n", "<", 5)).order_by("n")

    async with watching(store.port, query) as seen:
        await seen.until(lambda told: list(told) == ["a"])
        await things.document("b").set({"n": 0})
        await seen.until(lambda told: list(told) == ["b", "a"])
        await things.document("a").set({"n": 7})
        await seen.until(lambda told: list(told) == ["b"])
        await things.document("c").set({"n": 8})
        await things.document("b").delete()
        await seen.until(lambda told: told == {})
    assert seen.changes == [[("ADDED", "a")], [("ADDED", "b")], [("REMOVED", "a")], [("REMOVED", "b")]]


async def test_a_limited_query_is_told_who_takes_the_place_that_became_free(store: Store, things: Any) -> None:
    for number in range(4):
        await things.document(str(number)).set({"n": number})
    async with watching(store.port, lambda client: client.collection(things.id).order_by("n").limit(2)) as seen:
        await seen.until(lambda told: list(told) == ["0", "1"])
        await things.document("0").delete()
        await seen.until(lambda told: list(told) == ["1", "2"])


async def test_a_batch_is_seen_as_a_whole(store: Store, things: Any) -> None:
    async with watching(store.port, lambda client: client.collection(things.id)) as seen:
        await seen.until(lambda told: told == {})
        for round_number in range(5):
            batch = store.client.batch()
            for name in "abc":
                batch.set(things.document(name), {"round": round_number})
            await batch.commit()
        await seen.until(lambda told: bool(told) and told["a"]["round"] == 4)
    for told in seen.told:
        assert len({document["round"] for document in told.values()}) <= 1
        assert len(told) in {0, 3}


async def test_a_watch_goes_on_after_the_server_was_killed(tmp_path: Path) -> None:
    """The client resumes by its token, and is told what had happened before and what happens after."""
    process, port = await start_process(tmp_path)
    async with watching(port, lambda client: client.collection("things")) as seen:
        client = async_client(port)
        await client.document("things/a").set({"n": 1})
        await client.document("things/b").set({"n": 1})
        await seen.until(lambda told: set(told) == {"a", "b"})
        process.kill()
        await process.wait()
        process, _ = await start_process(tmp_path, port)
        await client.document("things/a").delete()
        await client.document("things/c").set({"n": 1})
        await seen.until(lambda told: set(told) == {"b", "c"})
        await client._firestore_api.transport.close()
    process.kill()
    await process.wait()
    assert [change for changes in seen.changes for change in changes if change[1] == "b"] == [("ADDED", "b")]


# the stream itself


class Stream:
    """One Listen stream: what is put into it, and its answers in short."""

    def __init__(self, store: Store) -> None:
        self._outgoing: asyncio.Queue[Any] = asyncio.Queue()
        self._store = store
        self._answers: Any = None

    async def ask(self, **request: Any) -> None:
        self._outgoing.put_nowait(types.ListenRequest({"database": ROOT} | request))
        if self._answers is None:
            self._answers = aiter(await self._store.api.listen(requests=self._requests(), timeout=60))

    async def _requests(self) -> AsyncIterator[Any]:
        while (request := await self._outgoing.get()) is not None:
            yield request

    async def next(self) -> Any:
        return await asyncio.wait_for(anext(self._answers), SECONDS)

    async def until_current(self) -> tuple[list[str], bytes]:
        """What is told up to the next consistent moment, and the token that came with it."""
        told: list[str] = []
        while True:
            answer = await self.next()
            change = answer.target_change
            if "target_change" in answer and change.target_change_type == Kind.NO_CHANGE:
                return told, change.resume_token
            told.append(self._short(answer))

    def _short(self, answer: Any) -> str:
        if "target_change" in answer:
            change = answer.target_change
            return f"{change.target_change_type.name} {list(change.target_ids)}"
        if "filter" in answer:
            return f"{answer.filter.count} in {answer.filter.target_id}"
        if "document_change" in answer:
            change = answer.document_change
            return f"{change.document.name.rpartition('/')[2]} in {list(change.target_ids)}"
        gone = answer.document_delete if "document_delete" in answer else answer.document_remove
        kind = "deleted" if "document_delete" in answer else "left"
        return f"{gone.document.rpartition('/')[2]} {kind} {list(gone.removed_target_ids)}"

    async def close(self) -> None:
        self._outgoing.put_nowait(None)
        with contextlib.suppress(StopAsyncIteration, exceptions.GoogleAPICallError):
            while True:
                await self.next()


@pytest.fixture
async def stream(store: Store) -> AsyncIterator[Stream]:
    opened = Stream(store)
    yield opened
    await opened.close()


def query(things: Any, **more: Any) -> dict[str, Any]:
    return {"parent": f"{ROOT}/documents", "structured_query": {"from_": [{"collection_id": things.id}]} | more}


async def test_targets_are_added_followed_and_removed(stream: Stream, things: Any) -> None:
    await things.document("a").set({"n": 1})
    await stream.ask(add_target={"target_id": 5, "query": query(things)})
    told, _ = await stream.until_current()
    assert told == ["ADD [5]", "a in [5]", "CURRENT [5]"]
    names = [things.document(name)._document_path for name in ("a", "b")]
    await stream.ask(add_target={"target_id": 6, "documents": {"documents": names}})
    told, _ = await stream.until_current()
    assert told == ["ADD [6]", "a in [6]", "b deleted [6]", "CURRENT [6]"]
    await things.document("b").set({"n": 1})
    told, _ = await stream.until_current()
    assert sorted(told) == ["b in [5]", "b in [6]"]
    await stream.ask(remove_target=5)
    assert stream._short(await stream.next()) == "REMOVE [5]"
    await things.document("a").delete()
    told, _ = await stream.until_current()
    assert told == ["a deleted [6]"]


async def test_a_token_resumes_where_the_client_left_and_counts_what_there_is(
    store: Store, stream: Stream, things: Any
) -> None:
    for name in "abc":
        await things.document(name).set({"n": 1})
    order = {"order_by": [{"field": {"field_path": "n"}}]}
    await stream.ask(add_target={"target_id": 1, "query": query(things, **order)})
    _, token = await stream.until_current()
    await things.document("a").delete()
    await things.document("b").set({"other": 1})
    await things.document("d").set({"n": 2})
    again = Stream(store)
    await again.ask(add_target={"target_id": 1, "query": query(things, **order), "resume_token": token})
    told, _ = await again.until_current()
    assert (told[0], sorted(told[1:3]), told[3:]) == (
        "ADD [1]",
        ["a deleted [1]", "b left [1]"],
        ["d in [1]", "2 in 1", "CURRENT [1]"],
    )
    await again.close()


async def test_a_token_that_is_too_old_begins_again(tmp_path: Path) -> None:
    async with running_store(tmp_path) as store:
        things = store.client.collection("things")
        await things.document("a").set({"n": 1})
        stream = Stream(store)
        await stream.ask(add_target={"target_id": 1, "query": query(things)})
        _, token = await stream.until_current()
        store.wall.ahead = 3_700
        again = Stream(store)
        await again.ask(add_target={"target_id": 1, "query": query(things), "resume_token": token})
        told, _ = await again.until_current()
        assert told == ["ADD [1]", "RESET [1]", "a in [1]", "CURRENT [1]"]
        await stream.close()
        await again.close()


async def test_a_target_that_is_wanted_once_is_removed_when_it_is_complete(stream: Stream, things: Any) -> None:
    await stream.ask(add_target={"target_id": 1, "query": query(things), "once": True})
    told, _ = await stream.until_current()
    assert told == ["ADD [1]", "CURRENT [1]"]
    assert stream._short(await stream.next()) == "REMOVE [1]"


async def test_the_server_gives_ids_to_targets_that_have_none(stream: Stream, things: Any) -> None:
    await stream.ask(add_target={"query": query(things)})
    told, _ = await stream.until_current()
    assert told == ["ADD [1]", "CURRENT [1]"]


async def test_a_target_that_cannot_be_followed_is_removed_with_the_reason(stream: Stream, things: Any) -> None:
    wrong = query(things, limit={"value": -1})
    orders = [{"field": {"field_path": path}} for path in "ab"]
    for target, code, said in (
        ({"query": wrong}, 3, "limit"),
        ({"query": query(things, order_by=orders)}, 9, "index"),
        ({"query": query(things), "resume_token": b"mine"}, 3, "resume token"),
        ({"documents": {}}, 3, "a query or a set"),
        ({"documents": {"documents": ["projects/x/databases/y/documents/a/b"]}}, 3, "not in the database"),
    ):
        await stream.ask(add_target={"target_id": 1} | target)
        change = (await stream.next()).target_change
        assert change.target_change_type == Kind.REMOVE
        assert change.cause.code == code
        assert said in change.cause.message


@pytest.mark.parametrize("request_", [{}, {"add_target": {"target_id": -1}}, {"database": "mine", "remove_target": 1}])
async def test_requests_that_make_no_sense_end_the_stream(store: Store, request_: dict[str, Any]) -> None:
    stream = Stream(store)
    await stream.ask(**request_)
    with pytest.raises(exceptions.InvalidArgument):
        await stream.next()


async def test_a_database_that_is_not_there_ends_the_stream(store: Store) -> None:
    stream = Stream(store)
    await stream.ask(database=ROOT.replace("(default)", "none"), remove_target=1)
    with pytest.raises(exceptions.NotFound):
        await stream.next()
