"""What the Firestore stand-in has answered for is kept, whole, however it ends; and what it is told to do wrong."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore

from local.firestore.databases import Settings
from local.firestore.server import settings_from_environment
from tests.support.firestore import SECONDS, async_client, begin, commit, running_store, start_process

EXPIRES = {"fieldOverrides": [{"collectionGroup": "leases", "fieldPath": "expires_at", "ttl": True, "indexes": []}]}


async def test_no_acknowledged_commit_is_lost_and_no_batch_is_kept_half(tmp_path: Path) -> None:
    """The process is killed again and again while writers commit batches of four documents."""
    acknowledged: list[str] = []
    enough = asyncio.Event()
    tried = 0

    async def write(client: Any, life: int, writer: int) -> None:
        nonlocal tried
        for number in range(10_000):
            batch = client.batch()
            for part in range(4):
                batch.set(client.document(f"batches/{life}-{writer}-{number}-{part}"), {"text": "x" * 2_000})
            batch.set(client.document(f"counters/{writer}"), {"n": firestore.Increment(1)}, merge=True)
            tried += 1
            await batch.commit(retry=None, timeout=SECONDS)
            acknowledged.append(f"{life}-{writer}-{number}")
            if len(acknowledged) >= 40 * (life + 1) + 7 * life:
                enough.set()

    for life in range(3):
        process, port = await start_process(tmp_path)
        client = async_client(port)
        writers = [asyncio.create_task(write(client, life, writer)) for writer in range(3)]
        enough.clear()
        await asyncio.wait_for(enough.wait(), SECONDS)
        process.kill()
        await process.wait()
        endings = await asyncio.gather(*writers, return_exceptions=True)
        assert all(isinstance(ending, exceptions.GoogleAPICallError) for ending in endings)
        await client._firestore_api.transport.close()
    async with running_store(tmp_path) as store:
        ids = [reference.id async for reference in store.client.collection("batches").list_documents()]
        batches = {identifier.rpartition("-")[0] for identifier in ids}
        assert len(ids) == 4 * len(batches)
        assert set(acknowledged) <= batches
        assert len(batches) <= tried
        counted = [snapshot.get("n") async for snapshot in store.client.collection("counters").stream()]
        assert sum(counted) == len(batches)
    assert (tmp_path / "firestore.sqlite3").stat().st_mode & 0o077 == 0


async def test_everything_is_as_it_was_after_a_restart(tmp_path: Path) -> None:
    async with running_store(tmp_path) as store:
        one = store.client.document("things/one")
        first = await one.set({"n": 1, "at": firestore.SERVER_TIMESTAMP})
        await one.update({"n": 2})
        await store.client.document("things/two").set({"n": 1})
        await store.client.document("things/two").delete()
        before = await one.get()
    async with running_store(tmp_path) as store:
        one = store.client.document("things/one")
        after = await one.get()
        assert (after.to_dict(), after.create_time, after.update_time) == (
            before.to_dict(),
            before.create_time,
            before.update_time,
        )
        assert (await one.get(read_time=first.update_time)).get("n") == 1
        assert not (await store.client.document("things/two").get()).exists
        assert (await one.update({"n": 3})).update_time > before.update_time


async def test_time_never_goes_back(tmp_path: Path) -> None:
    async with running_store(tmp_path) as store:
        store.wall.ahead = 500
        early = (await store.client.document("things/one").set({"n": 1})).update_time
        store.wall.ahead = 0
        assert (await store.client.document("things/one").set({"n": 2})).update_time > early
    async with running_store(tmp_path) as store:
        late = await store.client.document("things/one").set({"n": 3})
        assert late.update_time > early
        assert (await store.client.document("things/one").get(read_time=early)).get("n") == 1


async def test_a_transaction_does_not_outlive_the_server(tmp_path: Path) -> None:
    async with running_store(tmp_path) as store:
        transaction = await begin(store)
    async with running_store(tmp_path) as store:
        with pytest.raises(exceptions.InvalidArgument, match="no longer valid"):
            await commit(store, transaction, n1=[store.client.document("things/one")])


# databases


async def test_databases_know_nothing_of_each_other(tmp_path: Path) -> None:
    settings = settings_from_environment({"FIRESTORE_DATABASES": "jobs, other"})
    async with running_store(tmp_path, settings) as store:
        jobs, other = async_client(store.port, "jobs"), async_client(store.port, "other")
        await jobs.document("things/one").set({"n": 1})
        await other.document("things/one").set({"n": 2})
        assert not (await store.client.document("things/one").get()).exists
        assert [snapshot.get("n") async for snapshot in jobs.collection("things").stream()] == [1]
        reference = jobs.document("things/one")
        batch = other.batch()
        batch.set(reference, {"n": 3})
        with pytest.raises(exceptions.InvalidArgument, match="not in the database"):
            await batch.commit()
    async with running_store(tmp_path, settings) as store:
        assert (await async_client(store.port, "other").document("things/one").get()).get("n") == 2


async def test_a_database_that_the_project_does_not_have_is_not_found(tmp_path: Path) -> None:
    async with running_store(tmp_path) as store:
        none = async_client(store.port, "none")
        with pytest.raises(exceptions.NotFound, match="FIRESTORE_DATABASES"):
            await none.document("things/one").get()
        with pytest.raises(exceptions.NotFound):
            await none.document("things/one").set({})
        with pytest.raises(exceptions.NotFound):
            [snapshot async for snapshot in none.collection("things").stream()]


# what expires


async def test_an_expired_document_is_still_there_until_the_lag_is_over(tmp_path: Path) -> None:
    async with running_store(tmp_path, indexes=EXPIRES) as store:
        leases = store.client.collection("leases")
        now = datetime.now(UTC)
        await leases.document("old").set({"expires_at": now - timedelta(seconds=5)})
        await leases.document("old").collection("leases").document("below").set({"expires_at": now})
        await leases.document("new").set({"expires_at": now + timedelta(days=9)})
        await leases.document("text").set({"expires_at": "2001-01-01"})
        await leases.document("none").set({"other": now})
        await store.client.document("things/one").set({"expires_at": now - timedelta(days=9)})
        assert await store.server.maintain() == 0
        assert (await leases.document("old").get()).exists
        store.wall.ahead = 86_400 + 60
        assert await store.server.maintain() == 2
        assert [snapshot.id async for snapshot in leases.stream()] == ["new", "none", "text"]
        assert (await store.client.document("things/one").get()).exists


async def test_the_lag_is_a_setting_and_a_document_that_was_renewed_stays(tmp_path: Path) -> None:
    settings = settings_from_environment({"FIRESTORE_TTL_LAG_SECONDS": "0"})
    async with running_store(tmp_path, settings, indexes=EXPIRES) as store:
        lease = store.client.document("leases/one")
        await lease.set({"expires_at": datetime.now(UTC) + timedelta(seconds=30)})
        assert await store.server.maintain() == 0
        store.wall.ahead = 31
        await lease.update({"expires_at": datetime.now(UTC) + timedelta(seconds=90)})
        assert await store.server.maintain() == 0
        store.wall.ahead = 91
        assert await store.server.maintain() == 1
        assert not (await lease.get()).exists


@pytest.mark.parametrize("raw", ["soon", "-1", "nan"])
def test_a_lag_that_is_no_number_of_seconds_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match="FIRESTORE_TTL_LAG_SECONDS"):
        settings_from_environment({"FIRESTORE_TTL_LAG_SECONDS": raw})
    assert settings_from_environment({}) == Settings()


# faults


async def test_a_lost_answer_was_stored_all_the_same_and_meets_its_own_author(tmp_path: Path) -> None:
    """Create that lost its answer is tried again by the client, which then finds the document there."""
    async with running_store(tmp_path) as store:
        store.faults.write({"firestore": {"Commit": {"lose_answer": True}}})
        create = asyncio.create_task(store.client.document("things/one").create({"owner": "me"}))
        async with asyncio.timeout(SECONDS):
            while not (await store.client.document("things/one").get()).exists:
                pass
        store.faults.write({})
        with pytest.raises(exceptions.AlreadyExists):
            await create
        assert (await store.client.document("things/one").get()).get("owner") == "me"


async def test_a_duplicated_commit_is_done_twice_and_answered_once(tmp_path: Path) -> None:
    async with running_store(tmp_path) as store:
        one = store.client.document("things/one")
        store.faults.write({"firestore": {"Commit": {"duplicate": True}}})
        await one.set({"n": firestore.Increment(1)}, merge=True)
        await store.client.document("things/two").create({"n": 1})
        store.faults.write({})
        assert (await one.get()).get("n") == 2


async def test_it_can_be_slow_and_fail_in_every_status(tmp_path: Path) -> None:
    async with running_store(tmp_path) as store:
        one = store.client.document("things/one")
        store.faults.write({"firestore": {"BatchGetDocuments": {"delay_ms": 200}, "Commit": {"status": "ABORTED"}}})
        before = time.monotonic()
        await one.get()
        assert time.monotonic() - before >= 0.2
        with pytest.raises(exceptions.Aborted):
            await one.set({})
        store.faults.write({"firestore": {"*": {"status": "PERMISSION_DENIED"}}})
        with pytest.raises(exceptions.PermissionDenied):
            await one.get()
        store.faults.write({})
        assert not (await one.get()).exists
