"""The Secret Manager stand-in, driven by Google's own client, keeps secrets across restarts and says no in time."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import grpc
import grpc.aio
import pytest
from google.api_core import exceptions
from google.cloud import secretmanager_v1 as secretmanager
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcAsyncIOTransport,
    SecretManagerServiceGrpcTransport,
)

from local.faults import FaultBook
from local.places import REPOSITORY
from local.secrets import SecretsServer

PARENT = "projects/oprina-local"
SECONDS = 10.0
State = secretmanager.SecretVersion.State
Client = secretmanager.SecretManagerServiceAsyncClient


@dataclass
class Store:
    client: Client
    port: int
    file: Path
    faults: FaultBook

    async def create(self, name: str) -> secretmanager.Secret:
        secret = secretmanager.Secret({"replication": {"automatic": {}}, "labels": {"room": "accounts"}})
        return await self.client.create_secret(parent=PARENT, secret_id=name, secret=secret, timeout=SECONDS)

    async def add(self, name: str, data: bytes, **payload: Any) -> secretmanager.SecretVersion:
        request = secretmanager.AddSecretVersionRequest(
            {"parent": f"{PARENT}/secrets/{name}", "payload": {"data": data, **payload}}
        )
        return await self.client.add_secret_version(request=request, timeout=SECONDS)

    async def value(self, name: str, version: str | int = "latest") -> bytes:
        answer = await self.client.access_secret_version(name=version_name(name, version), timeout=SECONDS)
        data: bytes = answer.payload.data
        return data


def version_name(name: str, version: str | int) -> str:
    return f"{PARENT}/secrets/{name}/versions/{version}"


@contextlib.asynccontextmanager
async def open_store(file: Path) -> AsyncIterator[Store]:
    faults = FaultBook(file.parent / "faults.json")
    server = SecretsServer(file, faults)
    port = await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            client = Client(transport=SecretManagerServiceGrpcAsyncIOTransport(channel=channel))
            yield Store(client, port, file, faults)
    finally:
        await server.stop()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "state" / "secrets.sqlite3") as opened:
        yield opened


async def test_the_latest_version_is_the_newest_one(store: Store) -> None:
    await store.create("backend-key")
    first, second = await store.add("backend-key", b"one"), await store.add("backend-key", b"two")
    assert first.name == version_name("backend-key", 1)
    assert second.state == State.ENABLED
    assert await store.value("backend-key") == b"two"
    assert await store.value("backend-key", 1) == b"one"
    newest = await store.client.get_secret_version(name=version_name("backend-key", "latest"), timeout=SECONDS)
    assert newest == second


async def test_a_secret_is_read_back_as_it_was_made(store: Store) -> None:
    made = await store.create("backend-key")
    read = await store.client.get_secret(name=made.name, timeout=SECONDS)
    assert read == made
    assert read.labels["room"] == "accounts"
    assert read.etag
    assert read.create_time


async def test_a_name_is_taken_once(store: Store) -> None:
    await store.create("backend-key")
    with pytest.raises(exceptions.AlreadyExists):
        await store.create("backend-key")


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    with pytest.raises(exceptions.NotFound):
        await store.client.get_secret(name=f"{PARENT}/secrets/none", timeout=SECONDS)
    with pytest.raises(exceptions.NotFound):
        await store.add("none", b"value")
    await store.create("empty")
    for version in ("latest", 1):
        with pytest.raises(exceptions.NotFound):
            await store.value("empty", version)


async def test_names_of_another_form_are_invalid(store: Store) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        await store.create("with spaces")
    with pytest.raises(exceptions.InvalidArgument):
        await store.client.get_secret(name="backend-key", timeout=SECONDS)
    with pytest.raises(exceptions.InvalidArgument):
        await store.value("backend-key", "newest")


async def test_a_disabled_version_cannot_be_read_until_it_is_enabled_again(store: Store) -> None:
    await store.create("backend-key")
    version = await store.add("backend-key", b"one")
    disabled = await store.client.disable_secret_version(name=version.name, timeout=SECONDS)
    assert disabled.state == State.DISABLED
    assert disabled.etag != version.etag
    with pytest.raises(exceptions.FailedPrecondition, match="DISABLED"):
        await store.value("backend-key")
    await store.client.enable_secret_version(name=version.name, timeout=SECONDS)
    assert await store.value("backend-key") == b"one"


async def test_a_destroyed_version_is_gone_for_good(store: Store) -> None:
    await store.create("backend-key")
    version = await store.add("backend-key", b"to be forgotten")
    destroyed = await store.client.destroy_secret_version(name=version.name, timeout=SECONDS)
    assert destroyed.state == State.DESTROYED
    assert destroyed.destroy_time
    with pytest.raises(exceptions.FailedPrecondition, match="DESTROYED"):
        await store.value("backend-key")
    with pytest.raises(exceptions.FailedPrecondition):
        await store.client.enable_secret_version(name=version.name, timeout=SECONDS)
    with contextlib.closing(sqlite3.connect(store.file)) as database:
        assert database.execute("select payload from versions").fetchall() == [(None,)]


async def test_a_deleted_secret_takes_its_versions_with_it(store: Store) -> None:
    secret = await store.create("backend-key")
    await store.add("backend-key", b"one")
    await store.client.delete_secret(name=secret.name, timeout=SECONDS)
    await store.create("backend-key")
    with pytest.raises(exceptions.NotFound):
        await store.value("backend-key", 1)
    assert (await store.add("backend-key", b"new")).name == version_name("backend-key", 1)


async def test_a_change_with_an_old_etag_is_refused(store: Store) -> None:
    secret = await store.create("backend-key")
    version = await store.add("backend-key", b"one")
    await store.client.disable_secret_version(name=version.name, timeout=SECONDS)
    with pytest.raises(exceptions.FailedPrecondition, match="etag"):
        await store.client.enable_secret_version(request={"name": version.name, "etag": version.etag}, timeout=SECONDS)
    with pytest.raises(exceptions.FailedPrecondition, match="etag"):
        await store.client.delete_secret(request={"name": secret.name, "etag": '"other"'}, timeout=SECONDS)
    await store.client.delete_secret(request={"name": secret.name, "etag": secret.etag}, timeout=SECONDS)


async def test_checksums_are_checked_on_the_way_in_and_given_on_the_way_out(store: Store) -> None:
    await store.create("backend-key")
    right = google_crc32c.value(b"value")
    checked = await store.add("backend-key", b"value", data_crc32c=right)
    assert checked.client_specified_payload_checksum
    assert not (await store.add("backend-key", b"value")).client_specified_payload_checksum
    answer = await store.client.access_secret_version(name=checked.name, timeout=SECONDS)
    assert answer.payload.data_crc32c == right
    with pytest.raises(exceptions.InvalidArgument, match="crc32c"):
        await store.add("backend-key", b"other", data_crc32c=right)


@pytest.mark.parametrize("data", [b"", bytes(65_537)], ids=["empty", "too long"])
async def test_a_payload_has_one_byte_to_64_kilobytes(store: Store, data: bytes) -> None:
    await store.create("backend-key")
    with pytest.raises(exceptions.InvalidArgument):
        await store.add("backend-key", data)
    assert (await store.add("backend-key", bytes(65_536))).name == version_name("backend-key", 1)


async def test_lists_come_newest_first_page_by_page(store: Store) -> None:
    names = [f"{PARENT}/secrets/secret-{number}" for number in range(7)]
    for number in range(7):
        await store.create(f"secret-{number}")
    pager = await store.client.list_secrets(request={"parent": PARENT, "page_size": 3}, timeout=SECONDS)
    pages = [page async for page in pager.pages]
    assert [len(page.secrets) for page in pages] == [3, 3, 1]
    assert [secret.name for page in pages for secret in page.secrets] == names[::-1]
    assert {page.total_size for page in pages} == {7}
    other = await store.client.list_secrets(parent="projects/another", timeout=SECONDS)
    assert [secret async for secret in other] == []
    with pytest.raises(exceptions.InvalidArgument, match="page_token"):
        await store.client.list_secrets(request={"parent": PARENT, "page_token": "mine"}, timeout=SECONDS)


async def test_a_page_token_holds_while_secrets_are_added(store: Store) -> None:
    for number in range(4):
        await store.create(f"secret-{number}")
    first = await store.client.list_secrets(request={"parent": PARENT, "page_size": 2}, timeout=SECONDS)
    page = await anext(aiter(first.pages))
    await store.create("late")
    rest = await store.client.list_secrets(
        request={"parent": PARENT, "page_token": page.next_page_token}, timeout=SECONDS
    )
    assert [secret.name.rsplit("/", 1)[1] async for secret in rest] == ["secret-1", "secret-0"]


async def test_versions_are_listed_by_state(store: Store) -> None:
    secret = await store.create("backend-key")
    versions = [await store.add("backend-key", data) for data in (b"one", b"two", b"three")]
    await store.client.disable_secret_version(name=versions[2].name, timeout=SECONDS)
    await store.client.destroy_secret_version(name=versions[1].name, timeout=SECONDS)

    async def listed(wanted: str) -> list[str]:
        request = {"parent": secret.name, "filter": wanted}
        pager = await store.client.list_secret_versions(request=request, timeout=SECONDS)
        return [version.name.rsplit("/", 1)[1] async for version in pager]

    assert await listed("") == ["3", "2", "1"]
    assert await listed("state:ENABLED") == ["1"]
    assert await listed("state:(ENABLED OR DISABLED)") == ["3", "1"]
    with pytest.raises(exceptions.InvalidArgument, match="filter"):
        await listed("create_time>2026")


async def test_a_replication_policy_is_needed_and_what_is_not_served_is_refused(store: Store) -> None:
    async def create(secret: dict[str, Any]) -> None:
        request = secretmanager.CreateSecretRequest({"parent": PARENT, "secret_id": "backend-key", "secret": secret})
        await store.client.create_secret(request=request, timeout=SECONDS)

    with pytest.raises(exceptions.InvalidArgument, match="replication"):
        await create({})
    with pytest.raises(exceptions.MethodNotImplemented, match="ttl"):
        await create({"replication": {"automatic": {}}, "ttl": {"seconds": 60}})
    with pytest.raises(exceptions.MethodNotImplemented, match="UpdateSecret"):
        await store.client.update_secret(request={}, timeout=SECONDS)


async def test_the_synchronous_client_is_served_as_well(store: Store) -> None:
    await store.create("backend-key")
    await store.add("backend-key", b"value")

    def read() -> bytes:
        with grpc.insecure_channel(f"127.0.0.1:{store.port}") as channel:
            transport = SecretManagerServiceGrpcTransport(channel=channel)
            client = secretmanager.SecretManagerServiceClient(transport=transport)
            answer = client.access_secret_version(name=version_name("backend-key", "latest"), timeout=SECONDS)
            return bytes(answer.payload.data)

    assert await asyncio.to_thread(read) == b"value"


_SERVE = """
import asyncio, pathlib, sys
from local.faults import FaultBook
from local.secrets import SecretsServer
async def serve():
    folder = pathlib.Path(sys.argv[1])
    server = SecretsServer(folder / "secrets.sqlite3", FaultBook(folder / "faults.json"))
    print(await server.start(), flush=True)
    await asyncio.Event().wait()
asyncio.run(serve())
"""


async def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SERVE, str(tmp_path), stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY
    )
    assert process.stdout is not None
    port = int(await asyncio.wait_for(process.stdout.readline(), SECONDS))
    file = tmp_path / "secrets.sqlite3"
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        client = Client(transport=SecretManagerServiceGrpcAsyncIOTransport(channel=channel))
        running = Store(client, port, file, FaultBook(tmp_path / "faults.json"))
        await running.create("backend-key")
        version = await running.add("backend-key", b"kept")
        process.send_signal(signal.SIGKILL)
        await process.wait()
    async with open_store(file) as store:
        assert await store.value("backend-key") == b"kept"
        assert await store.client.get_secret_version(name=version.name, timeout=SECONDS) == version
    assert file.stat().st_mode & 0o077 == 0


async def test_an_answer_that_is_lost_was_stored_all_the_same(store: Store) -> None:
    await store.create("backend-key")
    store.faults.write({"secrets": {"AddSecretVersion": {"lose_answer": True}}})
    with pytest.raises(exceptions.ServiceUnavailable):
        await store.add("backend-key", b"one")
    store.faults.write({})
    assert await store.value("backend-key") == b"one"
