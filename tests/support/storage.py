"""A storage stand-in under test, and the product's client and boto3 pointed at it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
from botocore.config import Config
from starlette.types import ASGIApp

from local.faults import FaultBook
from local.serving import http_server
from local.storage.application import PREFIX, storage
from local.storage.operations import Operations
from local.storage.shelf import Shelf
from local.storage.signatures import Keys
from shared.runtime.settings import load

KEYS = Keys("local-access-key", "local-secret-key-0123456789", "us-central1")
BUCKET = "oprina"
MAX_OBJECT_BYTES = 32 * 1024 * 1024


@dataclass
class Storage:
    """A running stand-in over a folder."""

    url: str
    folder: Path
    faults: FaultBook
    shelf: Shelf

    @property
    def environment(self) -> dict[str, str]:
        return environment(self.url)

    def boto3(self, **changes: str) -> Any:
        return boto3_client(self.url, **changes)

    def bodies(self) -> list[Path]:
        """The files of all bodies on disk."""
        return sorted((self.folder / "bodies").iterdir())


def environment(url: str) -> dict[str, str]:
    return {
        "STORAGE_ENDPOINT": url,
        "STORAGE_REGION": KEYS.region,
        "STORAGE_BUCKET": BUCKET,
        "STORAGE_ACCESS_KEY_ID": KEYS.access_key_id,
        "STORAGE_SECRET_ACCESS_KEY": KEYS.secret_access_key,
    }


@contextlib.contextmanager
def pointed_at(variables: Mapping[str, str]) -> Iterator[None]:
    """The product's own client, with these settings."""
    with mock.patch.dict(os.environ, variables):
        load.cache_clear()
        try:
            yield
        finally:
            load.cache_clear()


def boto3_client(url: str, **changes: str) -> Any:
    """boto3 as anybody would use it. It blocks, so a test calls it in a thread."""
    settings: dict[str, Any] = {
        "endpoint_url": url,
        "region_name": KEYS.region,
        "aws_access_key_id": KEYS.access_key_id,
        "aws_secret_access_key": KEYS.secret_access_key,
        "config": Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
        ),
    }
    return boto3.session.Session().client("s3", **(settings | changes))


@contextlib.asynccontextmanager
async def running_storage(folder: Path, max_object_bytes: int = MAX_OBJECT_BYTES) -> AsyncIterator[Storage]:
    faults = FaultBook(folder / "faults.json")
    shelf = Shelf(folder / "storage")
    operations = Operations(shelf, BUCKET, KEYS.region, max_object_bytes)
    async with served(storage(operations, KEYS, faults)) as base:
        yield Storage(base + PREFIX, folder / "storage", faults, shelf)


@contextlib.asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """Serve on a free port as the local cloud does; gives the address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        server = http_server(app, port)
        running = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            await running


async def chunks_of(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]
