"""A stored recording is decoded where it lies, also one whose index is at its end, and by ranges only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from shared.clients import storage, storage_files
from shared.clients.storage import object_key
from shared.jobs.decoding import Decoder
from shared.runtime.errors import OprinaError
from tests.support.long_audio import beeping, beeps
from tests.support.recordings import encode
from tests.support.storage import Storage, pointed_at, running_storage

SECONDS = 20


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Storage]:
    async with running_storage(tmp_path_factory.mktemp("media")) as stand_in:
        with pointed_at(stand_in.environment):
            yield stand_in


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("kind", ["mp4", "webm"])
async def test_a_stored_recording_is_decoded(kind: str) -> None:
    key = object_key(uuid4(), "uploads", "recording")
    await storage.put(key, encode(beeping(SECONDS, 48_000), 48_000, kind), content_type="audio/mp4")
    found = await storage.head(key)

    def decoded() -> bytes:
        with storage_files.opened(found) as file:
            return b"".join(Decoder(file).blocks())

    assert [second for _, second in beeps(await asyncio.to_thread(decoded))] == list(range(SECONDS))


@pytest.mark.usefixtures("running")
async def test_a_file_is_read_and_sought_in_as_any_other() -> None:
    key = object_key(uuid4(), "a")
    data = bytes(range(256)) * 40_000
    await storage.put(key, data, content_type="application/octet-stream")
    found = await storage.head(key)

    def read() -> list[bytes]:
        with storage_files.opened(found) as file:
            first = file.read(10)
            file.seek(-5, 2)
            last = file.read(100)
            file.seek(5_000_001)
            return [first, last, file.read(7), file.read(0)]

    assert await asyncio.to_thread(read) == [data[:10], data[-5:], data[5_000_001:5_000_008], b""]


@pytest.mark.usefixtures("running")
async def test_a_file_that_was_replaced_is_not_read_on() -> None:
    key = object_key(uuid4(), "a")
    await storage.put(key, bytes(10_000_000), content_type="audio/wav")
    found = await storage.head(key)

    def read_on() -> None:
        with storage_files.opened(found) as file:
            file.read(100)
            asyncio.run_coroutine_threadsafe(storage.put(key, b"new", content_type="audio/wav"), loop).result()
            file.read()

    loop = asyncio.get_running_loop()
    with pytest.raises(OprinaError) as refused:
        await asyncio.to_thread(read_on)
    assert refused.value.code == "object_changed"
