"""The Firestore stand-in's transactions: nothing is lost, nothing is seen half, and who has to wait does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1 import FieldFilter
from google.cloud.firestore_v1.types import common

from local.firestore.databases import Settings
from local.firestore.transactions import Patience
from tests.support.firestore import ROOT, SECONDS, Store, begin, commit, read, running_store

WRITERS, INCREMENTS = 8, 50


@pytest.fixture(scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Store]:
    settings = Settings(patience=Patience(lock_wait_seconds=5))
    async with running_store(tmp_path_factory.mktemp("transactions"), settings) as opened:
        yield opened


@pytest.fixture
def things(store: Store) -> Any:
    return store.collection("things")


async def value(reference: Any) -> Any:
    return (await reference.get()).to_dict()["n"]


# nothing is lost


async def test_increments_of_many_writers_all_count_with_the_clients_own_retries(store: Store, things: Any) -> None:
    """Eight threads, fifty transactions each, the official client's five attempts."""
    await things.document("counter").set({"n": 0})

    def write(client: Any) -> int:
        counter = client.collection(things.id).document("counter")
        attempts = 0

        @firestore.transactional
        def increment(transaction: Any) -> None:
            nonlocal attempts
            attempts += 1
            seen = counter.get(transaction=transaction).get("n")
            transaction.update(counter, {"n": seen + 1})

        for _ in range(INCREMENTS):
            increment(client.transaction())
        return attempts

    attempts = await asyncio.gather(*(store.in_thread(write) for _ in range(WRITERS)))
    assert await value(things.document("counter")) == WRITERS * INCREMENTS
    assert sum(attempts) >= WRITERS * INCREMENTS


async def test_the_asynchronous_client_loses_nothing_either(store: Store, things: Any) -> None:
    counter = things.document("counter")
    await counter.set({"n": 0})

    @firestore.async_transactional
    async def increment(transaction: Any) -> None:
        seen = (await counter.get(transaction=transaction)).get("n")
        transaction.update(counter, {"n": seen + 1})

    await asyncio.gather(*(increment(store.client.transaction()) for _ in range(40)))
    assert await value(counter) == 40


async def test_money_moved_in_both_directions_at_once_is_neither_made_nor_lost(store: Store, things: Any) -> None:
    """Transactions that read two documents in opposite orders wait for each other in a circle."""
    one, two = things.document("one"), things.document("two")
    await one.set({"n": 100})
    await two.set({"n": 100})

    @firestore.async_transactional
    async def move(transaction: Any, source: Any, target: Any) -> None:
        held = (await source.get(transaction=transaction)).get("n")
        received = (await target.get(transaction=transaction)).get("n")
        assert held + received == 200
        transaction.update(source, {"n": held - 1})
        transaction.update(target, {"n": received + 1})

    moves = [move(store.client.transaction(), *((one, two) if number % 2 else (two, one))) for number in range(21)]
    await asyncio.gather(*moves)
    assert (await value(one), await value(two)) == (101, 99)


async def test_only_one_of_many_takes_what_a_query_does_not_find(store: Store, things: Any) -> None:
    """A result that is empty is locked too: nobody else may fill it."""

    @firestore.async_transactional
    async def take(transaction: Any, who: int) -> bool:
        query = things.where(filter=FieldFilter("taken", "==", True))
        found = [snapshot async for snapshot in await transaction.get(query)]
        if not found:
            transaction.create(things.document(f"taker-{who}"), {"taken": True})
        return not found

    taken = await asyncio.gather(*(take(store.client.transaction(), who) for who in range(12)))
    assert sum(taken) == 1
    assert len([snapshot async for snapshot in things.stream()]) == 1


async def test_a_total_that_a_transaction_has_counted_stays_true_until_it_ends(store: Store, things: Any) -> None:
    for name in "ab":
        await things.document(name).set({"n": 1})
    query = {"structured_query": {"from_": [{"collection_id": things.id}]}, "aggregations": [{"count": {}}]}
    transaction = await begin(store)
    request = {"parent": f"{ROOT}/documents", "structured_aggregation_query": query, "transaction": transaction}
    answers = await store.api.run_aggregation_query(request=request, timeout=SECONDS)
    assert (await anext(aiter(answers))).result.aggregate_fields["field_1"].integer_value == 2
    late = asyncio.create_task(things.document("c").set({"n": 1}))
    other = asyncio.create_task(store.collection("other").document("c").set({"n": 1}))
    await other
    assert not late.done()
    await commit(store, transaction, n2=[things.document("total")])
    await late


async def test_writes_outside_a_full_page_do_not_wait_for_who_has_read_it(store: Store, things: Any) -> None:
    for number in range(3):
        await things.document(str(number)).set({"n": number})

    @firestore.async_transactional
    async def first(transaction: Any) -> list[str]:
        found = [snapshot.id async for snapshot in await transaction.get(things.order_by("n").limit(2))]
        await things.document("9").set({"n": 9})
        return found

    assert await first(store.client.transaction()) == ["0", "1"]


# who has to wait, and who has to give way


async def test_a_write_waits_until_whoever_has_read_the_document_is_done(store: Store, things: Any) -> None:
    one = things.document("one")
    await one.set({"n": 1})
    transaction = await begin(store)
    assert await read(store, one, transaction) == 1
    late = asyncio.create_task(one.set({"n": 5}))
    await things.document("two").set({"n": 1})
    assert await read(store, one, transaction) == 1
    assert not late.done()
    await commit(store, transaction, n2=[one])
    await late
    assert await value(one) == 5


async def test_of_two_that_wait_for_each_other_the_younger_is_aborted(store: Store, things: Any) -> None:
    one = things.document("one")
    await one.set({"n": 1})
    older, younger = await begin(store), await begin(store)
    assert await read(store, one, older) == await read(store, one, younger) == 1
    waiting = asyncio.create_task(commit(store, older, n2=[one]))
    with pytest.raises(exceptions.Aborted, match="contention"):
        await commit(store, younger, n3=[one])
    await waiting
    assert await value(one) == 2


async def test_whoever_has_to_give_way_goes_on_reading_one_moment(store: Store, things: Any) -> None:
    one, two = things.document("one"), things.document("two")
    await one.set({"n": 1})
    await two.set({"n": 1})
    older = await begin(store)
    retried = await begin(store)
    await store.api.rollback(request={"database": ROOT, "transaction": retried}, timeout=SECONDS)
    younger = await begin(store, read_write={"retry_transaction": retried})
    assert await read(store, one, older) == 1
    assert await read(store, two, younger) == 1
    waiting = asyncio.create_task(read(store, two, older))
    assert await read(store, one, younger) == 1
    assert await waiting == 1
    await commit(store, older, n2=[one, two])
    assert await read(store, two, younger) == 1
    with pytest.raises(exceptions.Aborted):
        await commit(store, younger, n3=[one, two])
    assert (await value(one), await value(two)) == (2, 2)


async def test_nobody_waits_for_ever(tmp_path: Path) -> None:
    async with running_store(tmp_path, Settings(patience=Patience(lock_wait_seconds=0.2))) as store:
        one = store.client.document("things/one")
        await one.set({"n": 1})
        transaction = await begin(store)
        await read(store, one, transaction)
        with pytest.raises(exceptions.Aborted, match="contention"):
            await one.set({"n": 2})
        await commit(store, transaction, n3=[one])
        assert await value(one) == 3


async def test_a_client_that_gives_up_waiting_is_out_of_the_line(store: Store, things: Any) -> None:
    one = things.document("one")
    await one.set({"n": 1})
    transaction = await begin(store)
    await read(store, one, transaction)
    with pytest.raises(exceptions.DeadlineExceeded):
        await one.set({"n": 2}, timeout=0.2, retry=None)
    await commit(store, transaction, n3=[one])
    assert await value(one) == 3


async def test_a_failed_write_leaves_the_transaction_open_and_nothing_changed(store: Store, things: Any) -> None:
    one, two = things.document("one"), things.document("two")
    await one.set({"n": 1})
    transaction = await begin(store)
    await read(store, two, transaction)
    writes = [
        {"update": {"name": two._document_path}},
        {"update": {"name": one._document_path}, "current_document": {"exists": False}},
    ]
    request = {"database": ROOT, "transaction": transaction, "writes": writes}
    with pytest.raises(exceptions.AlreadyExists):
        await store.api.commit(request=request, timeout=SECONDS)
    assert not (await two.get()).exists
    await commit(store, transaction, n2=[two])
    assert await value(two) == 2


async def test_an_optimistic_transaction_waits_for_nobody_and_is_aborted_when_it_was_overtaken(
    store: Store, things: Any
) -> None:
    one = things.document("one")
    await one.set({"n": 1})
    optimistic = {"concurrency_mode": common.TransactionOptions.ConcurrencyMode.OPTIMISTIC}
    overtaken, lucky = await begin(store, read_write=optimistic), await begin(store, read_write=optimistic)
    assert await read(store, one, overtaken) == await read(store, one, lucky) == 1
    await commit(store, lucky, n2=[one])
    assert await read(store, one, overtaken) == 1
    with pytest.raises(exceptions.Aborted):
        await commit(store, overtaken, n3=[one])
    assert await value(one) == 2


# how they begin and end


async def test_a_read_only_transaction_sees_one_moment_and_keeps_nobody_waiting(store: Store, things: Any) -> None:
    one = things.document("one")
    await one.set({"n": 1})
    transaction = await begin(store, read_only={})
    await one.set({"n": 2})
    assert await read(store, one, transaction) == 1
    with pytest.raises(exceptions.InvalidArgument, match="read-only"):
        await commit(store, transaction, n3=[one])
    await commit(store, transaction)


async def test_a_transaction_can_begin_with_its_first_read(store: Store, things: Any) -> None:
    one = things.document("one")
    await one.set({"n": 1})
    options = common.TransactionOptions(read_write={})
    request = {"database": ROOT, "documents": [one._document_path], "new_transaction": options}
    answers = await store.api.batch_get_documents(request=request, timeout=SECONDS)
    transaction = (await anext(aiter(answers))).transaction
    await commit(store, transaction, n2=[one])
    query = {"from_": [{"collection_id": things.id}]}
    request = {"parent": f"{ROOT}/documents", "structured_query": query, "new_transaction": options}
    found = [answer async for answer in await store.api.run_query(request=request, timeout=SECONDS)]
    assert (bool(found[0].transaction), found[0].document.name) == (True, "")
    assert found[1].document.fields["n"].integer_value == 2
    await commit(store, found[0].transaction, n3=[one])
    assert await value(one) == 3


async def test_a_transaction_ends_once(store: Store, things: Any) -> None:
    one = things.document("one")
    transaction = await begin(store)
    await commit(store, transaction, n1=[one])
    for identifier in (transaction, b"unknown"):
        with pytest.raises(exceptions.InvalidArgument, match="no longer valid"):
            await commit(store, identifier, n2=[one])
        with pytest.raises(exceptions.InvalidArgument, match="no longer valid"):
            await read(store, one, identifier)
        await store.api.rollback(request={"database": ROOT, "transaction": identifier}, timeout=SECONDS)
    assert await value(one) == 1


async def test_a_rolled_back_transaction_lets_go_of_what_it_has_read(store: Store, things: Any) -> None:
    one = things.document("one")
    await one.set({"n": 1})
    transaction = await begin(store)
    await read(store, one, transaction)
    late = asyncio.create_task(one.set({"n": 2}))
    await things.document("two").set({"n": 1})
    assert not late.done()
    await store.api.rollback(request={"database": ROOT, "transaction": transaction}, timeout=SECONDS)
    await late


@pytest.mark.parametrize(("seconds", "every"), [(61, 61), (280, 50)], ids=["at rest", "in all"])
async def test_a_transaction_lasts_sixty_seconds_at_rest_and_270_in_all(
    tmp_path: Path, seconds: float, every: float
) -> None:
    async with running_store(tmp_path) as store:
        one = store.client.document("things/one")
        await one.set({"n": 1})
        transaction = await begin(store)
        passed = 0.0
        while passed < seconds:
            assert await read(store, one, transaction) == 1
            store.wall.ahead += every
            passed += every
        await asyncio.wait_for(one.set({"n": 2}), SECONDS)
        with pytest.raises(exceptions.InvalidArgument, match="expired"):
            await commit(store, transaction, n3=[one])
        assert await value(one) == 2


# the past


async def test_the_past_can_be_read_for_an_hour(store: Store, things: Any) -> None:
    one = things.document("one")
    first = (await one.set({"n": 1})).update_time
    second = (await one.set({"n": 2})).update_time
    await one.delete()
    gone = (await one.get()).read_time
    await things.document("two").set({"n": 3})
    assert (await one.get(read_time=first)).get("n") == 1
    assert (await one.get(read_time=second)).get("n") == 2
    assert not (await one.get(read_time=gone)).exists
    assert [snapshot.get("n") async for snapshot in things.stream(read_time=second)] == [2]
    assert [snapshot.get("n") async for snapshot in things.stream(read_time=gone)] == []
    assert (await things.count("n").get(read_time=first))[0][0].value == 1
    assert [reference.id async for reference in things.list_documents(read_time=first)] == ["one"]
    transaction = await begin(store, read_only={"read_time": second})
    assert await read(store, one, transaction) == 2


async def test_moments_that_cannot_be_read_are_refused(store: Store, things: Any) -> None:
    now = datetime.now(UTC)
    with pytest.raises(exceptions.FailedPrecondition, match="too old"):
        await things.document("one").get(read_time=now - timedelta(minutes=61))
    with pytest.raises(exceptions.InvalidArgument, match="future"):
        await things.document("one").get(read_time=now + timedelta(minutes=1))


async def test_versions_are_forgotten_after_an_hour(tmp_path: Path) -> None:
    async with running_store(tmp_path) as store:
        one = store.client.document("things/one")
        first = (await one.set({"n": 1})).update_time
        await one.set({"n": 2})
        await one.delete()
        store.wall.ahead = 3_500
        await store.server.maintain()
        assert (await one.get(read_time=first)).get("n") == 1
        store.wall.ahead = 3_700
        await store.server.maintain()
        with pytest.raises(exceptions.FailedPrecondition):
            await one.get(read_time=first)
        await one.create({"n": 3})
        assert await value(one) == 3
