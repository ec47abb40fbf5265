"""What a person stores can be written, read in pieces, listed and erased, also when the storage is not well."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from botocore.exceptions import ClientError

from shared.clients import storage
from shared.clients.storage import object_key
from shared.runtime.errors import NotFound, OprinaError, TooLarge, Unavailable
from tests.support.storage import MAX_OBJECT_BYTES, Storage, chunks_of, pointed_at, running_storage

MIB = 1024 * 1024
LARGE = os.urandom(19 * MIB)


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Storage]:
    async with running_storage(tmp_path_factory.mktemp("client")) as stand_in:
        with pointed_at(stand_in.environment):
            yield stand_in


@pytest.fixture
def owner() -> UUID:
    return uuid4()


@pytest.fixture
def faults(running: Storage) -> Iterator[Storage]:
    yield running
    running.faults.write({})


async def read(key: str) -> bytes:
    return await storage.get(key)


async def test_a_small_object_comes_back_with_its_type(running: Storage, owner: UUID) -> None:
    key = object_key(owner, "results", "transcript.txt")
    await storage.put(key, "Grüße".encode(), content_type="text/plain; charset=utf-8")
    found = await storage.head(key)
    assert (found.size_bytes, found.content_type) == (7, "text/plain; charset=utf-8")
    assert await read(key) == "Grüße".encode()


async def test_an_empty_object_is_an_object(running: Storage, owner: UUID) -> None:
    key = object_key(owner, "empty")
    await storage.put(key, b"", content_type="text/plain")
    assert (await storage.head(key)).size_bytes == 0
    assert await read(key) == b""


@pytest.mark.parametrize("size", [0, 1, storage.PART_BYTES - 1, storage.PART_BYTES, 2 * storage.PART_BYTES, len(LARGE)])
async def test_a_stream_of_any_length_is_stored_as_it_came(running: Storage, owner: UUID, size: int) -> None:
    key = object_key(owner, "stream")
    stored = await storage.put_stream(key, chunks_of(LARGE[:size], 3 * MIB + 17), content_type="audio/wav")
    assert stored == size
    assert (await storage.head(key)).size_bytes == size
    assert await read(key) == LARGE[:size]


async def test_ranges_are_read_across_the_parts_of_a_large_object(running: Storage, owner: UUID) -> None:
    key = object_key(owner, "large")
    await storage.put_stream(key, chunks_of(LARGE, MIB), content_type="audio/wav")
    edge = storage.PART_BYTES
    for first, length in ((0, 1), (edge - 3, 6), (edge, 5), (len(LARGE) - 2, 100), (0, len(LARGE))):
        assert await storage.get_range(key, first, length) == LARGE[first : first + length]
    assert await storage.get_range(key, len(LARGE), 10) == b""
    assert await storage.get_range(key, 5, 0) == b""


async def test_a_range_of_an_object_that_was_replaced_is_refused(running: Storage, owner: UUID) -> None:
    key = object_key(owner, "replaced")
    await storage.put(key, b"first version", content_type="text/plain")
    etag = (await storage.head(key)).etag
    await storage.put(key, b"second version", content_type="text/plain")
    with pytest.raises(storage.ObjectChanged) as refused:
        await storage.get_range(key, 0, 5, etag=etag)
    assert (refused.value.status, refused.value.code) == (409, "object_changed")


async def test_what_does_not_exist_is_told_as_missing_and_may_be_deleted(running: Storage, owner: UUID) -> None:
    key = object_key(owner, "nothing")
    for reading in (storage.head(key), storage.get(key), storage.get_range(key, 0, 1), storage.copy(key, key + "2")):
        with pytest.raises(NotFound) as refused:
            await reading
        assert refused.value.code == "object_missing"
    await storage.delete(key)


async def test_a_copy_is_an_object_of_its_own(running: Storage, owner: UUID) -> None:
    source, target = object_key(owner, "a"), object_key(owner, "b c+ü%")
    await storage.put_stream(source, chunks_of(LARGE, MIB), content_type="audio/flac")
    await storage.copy(source, target)
    await storage.delete(source)
    assert (await storage.head(target)).content_type == "audio/flac"
    assert await read(target) == LARGE
    with pytest.raises(NotFound):
        await storage.head(source)


async def test_a_person_is_erased_with_unfinished_uploads_and_nobody_else_is(running: Storage, owner: UUID) -> None:
    # An id that begins as the other's does: only the slash behind it tells them apart.
    neighbour = f"{owner}0"
    client = running.boto3()
    await asyncio.to_thread(client.put_object, Bucket="oprina", Key=f"{neighbour}/kept", Body=b"kept")
    keys = [object_key(owner, "notes", f"note-{number:04}") for number in range(1_050)]
    await storage.put(keys[0], b"x", content_type="text/plain")
    first = running.shelf.find("oprina", keys[0])
    assert first is not None
    for key in keys[1:]:
        running.shelf.copy(first, "oprina", key, first.headers)
    begun = await asyncio.to_thread(client.create_multipart_upload, Bucket="oprina", Key=object_key(owner, "half"))
    part = {"Bucket": "oprina", "Key": begun["Key"], "UploadId": begun["UploadId"], "PartNumber": 1}
    await asyncio.to_thread(client.upload_part, **part, Body=b"private")

    assert [found.key async for found in storage.list_prefix(owner)] == keys
    assert [found.key async for found in storage.list_prefix(owner, "note")] == []
    assert await storage.delete_prefix(owner, "notes") == 1_050
    assert await storage.delete_prefix(owner) == 0
    assert [found async for found in storage.list_prefix(owner)] == []
    left = await asyncio.to_thread(client.list_multipart_uploads, Bucket="oprina", Prefix=f"{owner}/")
    assert "Uploads" not in left
    assert (await asyncio.to_thread(client.head_object, Bucket="oprina", Key=f"{neighbour}/kept"))["ContentLength"] == 4


async def test_a_list_tells_size_and_time_of_every_object(running: Storage, owner: UUID) -> None:
    key = object_key(owner, "export", "zürich & <more>.json")
    await storage.put(key, b"12345", content_type="application/json")
    (found,) = [each async for each in storage.list_prefix(owner)]
    assert (found.key, found.size_bytes) == (key, 5)
    assert found == await _as_listed(key)


async def _as_listed(key: str) -> storage.StoredObject:
    head = await storage.head(key)
    (listed,) = [each async for each in storage.list_prefix(UUID(key.split("/")[0]))]
    assert abs((head.modified_at - listed.modified_at).total_seconds()) < 1
    return storage.StoredObject(head.key, head.size_bytes, head.etag, listed.modified_at)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\0"])
def test_a_key_never_leaves_its_owners_place(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be part"):
        object_key(uuid4(), "results", name)


class TestWhenTheStorageIsNotWell:
    async def test_an_answer_that_is_lost_leaves_the_writer_unsure_and_the_object_stored(
        self, faults: Storage, owner: UUID
    ) -> None:
        key = object_key(owner, "a")
        faults.faults.write({"s3": {"PutObject": {"lose_answer": True}}})
        with pytest.raises(Unavailable):
            await storage.put(key, b"stored all the same", content_type="text/plain")
        faults.faults.write({})
        assert await read(key) == b"stored all the same"

    async def test_a_storage_that_stays_away_is_told_as_unavailable(self, faults: Storage, owner: UUID) -> None:
        faults.faults.write({"s3": {"*": {"status": 503}}})
        key = object_key(owner, "a")
        for calling in (storage.head(key), storage.put(key, b"", content_type="a/b"), storage.delete_prefix(owner)):
            with pytest.raises(Unavailable) as refused:
                await calling
            assert (refused.value.code, refused.value.retryable) == ("storage_unavailable", True)

    async def test_a_storage_that_is_gone_is_told_as_unavailable(self, owner: UUID, running: Storage) -> None:
        with (
            pointed_at({**running.environment, "STORAGE_ENDPOINT": "http://127.0.0.1:9"}),
            pytest.raises(Unavailable) as refused,
        ):
            await storage.head(object_key(owner, "a"))
        assert refused.value.code == "storage_unavailable"

    async def test_wrong_keys_are_our_failure_and_not_the_callers(self, running: Storage, owner: UUID) -> None:
        with (
            pointed_at({**running.environment, "STORAGE_SECRET_ACCESS_KEY": "wrong"}),
            pytest.raises(OprinaError) as refused,
        ):
            await storage.put(object_key(owner, "a"), b"", content_type="text/plain")
        assert (refused.value.status, refused.value.code, refused.value.retryable) == (502, "storage_refused", False)
        assert "wrong" not in refused.value.detail

    async def test_more_than_fits_is_refused_and_nothing_is_left_of_it(self, running: Storage, owner: UUID) -> None:
        before = running.bodies()
        for storing in (
            storage.put(object_key(owner, "a"), bytes(MAX_OBJECT_BYTES + 1), content_type="audio/wav"),
            storage.put_stream(
                object_key(owner, "b"), chunks_of(bytes(MAX_OBJECT_BYTES + 1), MIB), content_type="audio/wav"
            ),
        ):
            with pytest.raises(TooLarge) as refused:
                await storing
            assert refused.value.code == "object_too_large"
        assert [found async for found in storage.list_prefix(owner)] == []
        assert running.bodies() == before

    async def test_a_stream_that_breaks_off_leaves_nothing(self, running: Storage, owner: UUID) -> None:
        before = running.bodies()

        async def breaking() -> AsyncIterator[bytes]:
            yield bytes(9 * MIB)
            raise RuntimeError("the source broke off")

        with pytest.raises(RuntimeError, match="broke off"):
            await storage.put_stream(object_key(owner, "a"), breaking(), content_type="audio/wav")
        assert [found async for found in storage.list_prefix(owner)] == []
        assert running.bodies() == before

    async def test_a_completion_whose_answer_was_lost_is_found_out(self, faults: Storage, owner: UUID) -> None:
        faults.faults.write({"s3": {"CompleteMultipartUpload": {"lose_answer": True}}})
        key = object_key(owner, "a")
        # Each try loses its answer, the first after the work: the second learns that the upload has ended.
        assert await storage.put_stream(key, chunks_of(LARGE, MIB), content_type="audio/wav") == len(LARGE)
        assert await read(key) == LARGE

    async def test_a_request_that_arrives_twice_changes_nothing(self, faults: Storage, owner: UUID) -> None:
        faults.faults.write({"s3": {"PutObject": {"duplicate": True}, "UploadPart": {"duplicate": True}}})
        small, large = object_key(owner, "a"), object_key(owner, "b")
        await storage.put(small, b"once", content_type="text/plain")
        await storage.put_stream(large, chunks_of(LARGE, MIB), content_type="audio/wav")
        assert await read(small) == b"once"
        assert await read(large) == LARGE

    async def test_a_connection_that_breaks_in_the_middle_is_taken_up_where_it_broke(
        self, faults: Storage, owner: UUID
    ) -> None:
        key = object_key(owner, "a")
        await storage.put_stream(key, chunks_of(LARGE, MIB), content_type="audio/wav")
        faults.faults.write({"s3": {"GetObject": {"lose_answer": True}}})
        chunks = storage.stream(key)
        received = [await anext(chunks)]
        faults.faults.write({})
        assert b"".join(received + [chunk async for chunk in chunks]) == LARGE

    async def test_an_object_replaced_while_its_connection_was_broken_is_not_mixed_with_the_old_one(
        self, faults: Storage, owner: UUID
    ) -> None:
        key = object_key(owner, "a")
        await storage.put_stream(key, chunks_of(LARGE, MIB), content_type="audio/wav")
        faults.faults.write({"s3": {"GetObject": {"lose_answer": True}}})
        chunks = storage.stream(key)
        await anext(chunks)
        faults.faults.write({})
        await storage.put(key, b"another", content_type="audio/wav")
        with pytest.raises(storage.ObjectChanged):
            [chunk async for chunk in chunks]

    async def test_a_connection_that_keeps_breaking_is_given_up(self, faults: Storage, owner: UUID) -> None:
        key = object_key(owner, "a")
        await storage.put_stream(key, chunks_of(LARGE, MIB), content_type="audio/wav")
        faults.faults.write({"s3": {"GetObject": {"lose_answer": True}}})
        with pytest.raises(Unavailable):
            await read(key)

    @pytest.mark.usefixtures("running")
    async def test_a_reader_keeps_what_it_began_when_the_object_is_deleted(self, owner: UUID) -> None:
        key = object_key(owner, "a")
        await storage.put_stream(key, chunks_of(LARGE, MIB), content_type="audio/wav")
        chunks = storage.stream(key)
        first = await anext(chunks)
        await storage.delete(key)
        assert first + b"".join([chunk async for chunk in chunks]) == LARGE


async def test_of_many_writers_one_wins_whole(running: Storage, owner: UUID) -> None:
    key, before = object_key(owner, "contested"), len(running.bodies())
    bodies = [bytes([number]) * 300_000 for number in range(24)]
    await asyncio.gather(*(storage.put(key, body, content_type="text/plain") for body in bodies))
    assert await read(key) in bodies
    assert len(running.bodies()) == before + 1


async def test_an_upload_in_parts_is_completed_once(running: Storage, owner: UUID) -> None:
    client, named = running.boto3(), {"Bucket": "oprina", "Key": object_key(owner, "parts")}
    named["UploadId"] = (await asyncio.to_thread(client.create_multipart_upload, **named))["UploadId"]
    part = await asyncio.to_thread(client.upload_part, **named, PartNumber=1, Body=b"all of it")
    done = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}

    def complete() -> bool:
        try:
            client.complete_multipart_upload(**named, MultipartUpload=done)
        except ClientError as refused:
            assert refused.response["Error"]["Code"] == "NoSuchUpload"  # noqa: PT017 - one of many tries
            return False
        return True

    # Threads of their own: the server under test works on those of the loop.
    with ThreadPoolExecutor(8) as pool:
        tries = [asyncio.get_running_loop().run_in_executor(pool, complete) for _ in range(8)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert sorted(map(str, outcomes)) == [*["False"] * 7, "True"]
    assert await read(named["Key"]) == b"all of it"


async def test_objects_outlive_a_restart_and_half_bodies_do_not(tmp_path: Path, owner: UUID) -> None:
    kept, parted = object_key(owner, "kept"), object_key(owner, "parted")
    async with running_storage(tmp_path) as before:
        with pointed_at(before.environment):
            await storage.put(kept, b"kept", content_type="text/plain")
            await storage.put_stream(parted, chunks_of(LARGE, MIB), content_type="audio/wav")
        client = before.boto3()
        begun = await asyncio.to_thread(client.create_multipart_upload, Bucket="oprina", Key=object_key(owner, "open"))
        named = {"Bucket": "oprina", "Key": begun["Key"], "UploadId": begun["UploadId"]}
        part = await asyncio.to_thread(client.upload_part, **named, PartNumber=1, Body=b"first and last part")
        (before.folder / "bodies" / "half-a-body").write_bytes(b"its process was killed in the middle")
    async with running_storage(tmp_path) as after:
        assert "half-a-body" not in [file.name for file in after.bodies()]
        with pointed_at(after.environment):
            assert await read(kept) == b"kept"
            assert (await storage.head(kept)).content_type == "text/plain"
            assert await read(parted) == LARGE
            client = after.boto3()
            done = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
            await asyncio.to_thread(client.complete_multipart_upload, **named, MultipartUpload=done)
            assert await read(object_key(owner, "open")) == b"first and last part"
