"""Bodies of any size on their way in and out, a piece at a time: memory stays flat."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import google_crc32c
from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from local.storage.refusals import S3Refusal, invalid, not_offered
from local.storage.shelf import Kept, Piece, Shelf
from local.storage.signatures import UNSIGNED

# One hop to a thread for this much.
_RUN_BYTES: Final = 1024 * 1024
# A refused body of this size is still read, so that its sender hears the refusal and not a broken connection.
_DRAINED_BYTES: Final = 16 * 1024 * 1024
_SMALL_BYTES: Final = 2 * 1024 * 1024
_SHA256_LENGTH: Final = 64


@dataclass(frozen=True)
class Received:
    """A body in its file. `etag` is its MD5 in hexadecimal, which S3 calls the entity tag."""

    piece: Piece
    etag: str


class _Digests:
    """Everything that somebody may ask of a body, computed while it passes."""

    def __init__(self, headers: Mapping[str, str], payload: str) -> None:
        self._wanted = _wanted(headers, payload)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256() if self._needs("sha256") else None
        self._crc32 = 0
        self._crc32c = google_crc32c.Checksum()  # type: ignore[no-untyped-call]
        self.size = 0

    def _needs(self, name: str) -> bool:
        return any(algorithm == name for algorithm, _, _ in self._wanted)

    def update(self, data: bytes) -> None:
        self.size += len(data)
        self._md5.update(data)
        if self._sha256 is not None:
            self._sha256.update(data)
        if self._needs("crc32"):
            self._crc32 = zlib.crc32(data, self._crc32)
        if self._needs("crc32c"):
            self._crc32c.update(data)  # type: ignore[no-untyped-call]

    def etag(self) -> str:
        return self._md5.hexdigest()

    def compare(self, length: int) -> None:
        """Raises S3Refusal when the body is not the one that was announced."""
        if self.size != length:
            raise S3Refusal(
                400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length header"
            )
        sha256 = self._sha256.digest() if self._sha256 else b""
        found = {
            "md5": self._md5.digest(),
            "sha256": sha256,
            "crc32": self._crc32.to_bytes(4, "big"),
            "crc32c": self._crc32c.digest(),  # type: ignore[no-untyped-call]
        }
        for algorithm, expected, refusal in self._wanted:
            if found[algorithm] != expected:
                raise refusal


def _wanted(headers: Mapping[str, str], payload: str) -> list[tuple[str, bytes, S3Refusal]]:
    wanted = []
    if payload != UNSIGNED:
        if payload.startswith("STREAMING-"):
            raise not_offered("A body in signed chunks (aws-chunked)")
        if len(payload) != _SHA256_LENGTH:
            raise invalid("x-amz-content-sha256 must be UNSIGNED-PAYLOAD or a SHA-256 in hexadecimal.")
        refusal = S3Refusal(
            400,
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )
        wanted.append(("sha256", bytes.fromhex(payload), refusal))
    digest = S3Refusal(400, "BadDigest", "The checksum you specified did not match what we received.")
    for header, algorithm in (
        ("content-md5", "md5"),
        ("x-amz-checksum-sha256", "sha256"),
        ("x-amz-checksum-crc32", "crc32"),
        ("x-amz-checksum-crc32c", "crc32c"),
    ):
        if header in headers:
            wanted.append((algorithm, _decoded(headers[header]), digest))
    return wanted


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise S3Refusal(400, "InvalidDigest", "The checksum you specified is not valid.") from None


def announced_length(headers: Mapping[str, str], most: int) -> int:
    """Raises S3Refusal: no length is given, or more than `most` bytes."""
    length = headers.get("content-length", "")
    if not length.isdecimal():
        raise S3Refusal(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    if int(length) > most:
        raise S3Refusal(
            400, "EntityTooLarge", f"Your proposed upload exceeds the maximum allowed size of {most} bytes."
        )
    return int(length)


async def receive(request: Request, headers: Mapping[str, str], payload: str, shelf: Shelf, most: int) -> Received:
    """Take a body into a file.

    Raises:
        S3Refusal: it is too large, or not the body that was announced; nothing is left of it then.
        ClientDisconnect: it ended early.
    """
    length, digests = announced_length(headers, most), _Digests(headers, payload)
    file = shelf.new_file()
    try:
        with await asyncio.to_thread(file.open, "wb") as out:
            async for run in _runs(request):
                await asyncio.to_thread(_take, out, digests, run)
        digests.compare(length)
    except BaseException:
        shelf.discard(file)
        raise
    return Received(Piece(file.name, digests.size), digests.etag())


def _take(out: BinaryIO, digests: _Digests, data: bytes) -> None:
    digests.update(data)
    out.write(data)


async def _runs(request: Request) -> AsyncIterator[bytes]:
    waiting = bytearray()
    async for data in request.stream():
        waiting += data
        if len(waiting) >= _RUN_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


async def receive_document(request: Request, headers: Mapping[str, str], payload: str) -> bytes:
    """A small body, whole. Raises S3Refusal."""
    length, digests = announced_length(headers, _SMALL_BYTES), _Digests(headers, payload)
    content = await request.body()
    digests.update(content)
    digests.compare(length)
    return content


async def drain(request: Request) -> None:
    """Read a refused body to its end, up to a bound."""
    read = 0
    try:
        async for data in request.stream():
            read += len(data)
            if read > _DRAINED_BYTES:
                return
    except (ClientDisconnect, RuntimeError):
        return  # gone, or read before


class Sent(StreamingResponse):
    """An object's bytes. Its files are let go at once when the client leaves in the middle."""

    def __init__(self, source: AsyncGenerator[bytes], status: int, headers: Mapping[str, str]) -> None:
        super().__init__(source, status, headers)
        self.source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self.source):
            await super().__call__(scope, receive, send)


async def send(shelf: Shelf, kept: Kept, first: int, length: int) -> AsyncGenerator[bytes]:
    """The object's bytes from `first` on; an object that is replaced meanwhile is still sent whole."""
    with shelf.held(kept) as files:
        left = length
        for file, size in files:
            if left == 0:
                break
            if first >= size:
                first -= size
                continue
            async with aclosing(_spans(file, first, min(size - first, left))) as spans:
                async for data in spans:
                    left -= len(data)
                    yield data
            first = 0


async def _spans(file: Path, start: int, length: int) -> AsyncGenerator[bytes]:
    with await asyncio.to_thread(file.open, "rb") as source:
        source.seek(start)
        while length > 0:
            data = await asyncio.to_thread(source.read, min(_RUN_BYTES, length))
            length -= len(data)
            yield data


def duplicated(shelf: Shelf, received: Received) -> Received:
    """The same body once more, for a request that arrives twice."""
    copy = shelf.new_file()
    copy.hardlink_to(copy.with_name(received.piece.file))
    return Received(Piece(copy.name, received.piece.size), received.etag)
