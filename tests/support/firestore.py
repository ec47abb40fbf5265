"""Firestore stand-ins under test: running servers and Google's own clients against them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from google.cloud import firestore
from google.cloud.firestore_v1.types import common

from local.faults import FaultBook
from local.firestore.databases import Settings
from local.firestore.server import FirestoreServer
from local.places import REPOSITORY

PROJECT = "oprina-local"
ROOT = f"projects/{PROJECT}/databases/(default)"
SECONDS = 20.0
_Result = TypeVar("_Result")


class Wall:
    """The machine's clock, as far ahead as a test moves it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class Store:
    """One running server. Clients of both kinds are made as any program makes them."""

    server: FirestoreServer
    port: int
    folder: Path
    faults: FaultBook
    wall: Wall
    client: Any

    @property
    def api(self) -> Any:
        """The generated client below, for what the friendly one does not offer."""
        return self.client._firestore_api

    def collection(self, name: str) -> Any:
        """A collection that no other test uses."""
        return self.client.collection(f"{name}-{os.urandom(6).hex()}")

    async def in_thread(self, work: Callable[[Any], _Result]) -> _Result:
        """Work with a synchronous client beside the loop that serves it."""

        def run() -> _Result:
            client = blocking_client(self.port)
            try:
                return work(client)
            finally:
                client.close()

        return await asyncio.to_thread(run)


@contextlib.contextmanager
def at(port: int) -> Iterator[None]:
    """Clients that are made inside talk to a stand-in on this port."""
    with mock.patch.dict(os.environ, {"FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{port}"}):
        yield


def blocking_client(port: int) -> Any:
    """A synchronous client; for other threads than the server's."""
    with at(port):
        return firestore.Client(project=PROJECT)


def async_client(port: int, database: str = "(default)") -> Any:
    with at(port):
        return firestore.AsyncClient(project=PROJECT, database=database)


@contextlib.asynccontextmanager
async def running_store(
    folder: Path, settings: Settings | None = None, indexes: Mapping[str, Any] | None = None, port: int = 0
) -> AsyncIterator[Store]:
    """Serve what is kept in a folder, on a free port unless one is named."""
    file = _written(folder, indexes or {})
    faults, wall = FaultBook(folder / "faults.json"), Wall()
    server = FirestoreServer(folder / "firestore.sqlite3", faults, settings, file, wall=wall)
    bound = await server.start(port)
    client = async_client(bound)
    try:
        yield Store(server, bound, folder, faults, wall, client)
    finally:
        await client._firestore_api.transport.close()
        await server.stop(0)


async def begin(store: Store, **options: Any) -> bytes:
    request = {"database": ROOT, "options": common.TransactionOptions(**options)}
    started = await store.api.begin_transaction(request=request, timeout=SECONDS)
    identifier: bytes = started.transaction
    return identifier


async def read(store: Store, reference: Any, transaction: bytes, seconds: float = SECONDS) -> Any:
    """The field `n` of a document as a transaction sees it; None where there is no document."""
    request = {"database": ROOT, "documents": [reference._document_path], "transaction": transaction}
    answers = await store.api.batch_get_documents(request=request, timeout=seconds, retry=None)
    answer = await anext(aiter(answers))
    return answer.found.fields["n"].integer_value if answer.found.name else None


async def commit(store: Store, transaction: bytes, **documents: Any) -> Any:
    """Commit a transaction that gives documents a new `n`: {n: [references]}."""
    writes = [
        {"update": {"name": reference._document_path, "fields": {"n": {"integer_value": int(name[1:])}}}}
        for name, references in documents.items()
        for reference in references
    ]
    request = {"database": ROOT, "transaction": transaction, "writes": writes}
    return await store.api.commit(request=request, timeout=SECONDS)


def _written(folder: Path, indexes: Mapping[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "indexes.json"
    file.write_text(json.dumps(indexes))
    return file


SERVE = """
import asyncio, pathlib, sys
from local.faults import FaultBook
from local.firestore.server import FirestoreServer
async def serve():
    folder = pathlib.Path(sys.argv[1])
    faults = FaultBook(folder / "faults.json")
    server = FirestoreServer(folder / "firestore.sqlite3", faults, None, folder / "none.json")
    print(await server.start(int(sys.argv[2])), flush=True)
    await asyncio.Event().wait()
asyncio.run(serve())
"""


async def start_process(folder: Path, port: int = 0) -> tuple[asyncio.subprocess.Process, int]:
    """A server in a process of its own, to be killed. Returns it with its port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, str(folder), str(port), stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY
    )
    assert process.stdout is not None
    return process, int(await asyncio.wait_for(process.stdout.readline(), SECONDS))
