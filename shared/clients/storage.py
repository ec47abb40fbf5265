"""Objects through an S3 interface: Supabase Storage's endpoint (https://supabase.com/docs/guides/storage/s3/compatibility).

Every key begins with its owner's id, so that what a person has stored can be listed, exported and erased by that
prefix. Large bodies go between the browser and the storage by presigned URLs; what passes through here passes in
chunks. The client blocks, so each of its calls runs on a thread of its own pool.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from shared.clients.storage_connection import (
    BehindTheEnd,
    ObjectChanged,
    StorageSettings,
    bucket,
    call,
    client,
    in_thread,
    public_client,
    translating,
)
from shared.runtime.errors import NotFound, OprinaError, Unavailable

CHUNK_BYTES: Final = 256 * 1024
PART_BYTES: Final = 8 * 1024 * 1024

_RESUMED: Final = 3
_FORBIDDEN_IN_NAMES: Final = frozenset("/\\\0")


@dataclass(frozen=True)
class StoredObject:
    """What a list says of an object. `etag` changes with its bytes."""

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime


@dataclass(frozen=True)
class ObjectHead(StoredObject):
    content_type: str


@dataclass(frozen=True)
class Presigned:
    """A URL for one request of the browser's, which must carry exactly these headers."""

    url: str
    headers: Mapping[str, str]


def object_key(owner: UUID, *names: str) -> str:
    """`owner/name/name`.

    Raises:
        ValueError: a name is empty, leads elsewhere, or holds a separator. Names come from us, never from a person.
    """
    for name in names:
        if name in {"", ".", ".."} or _FORBIDDEN_IN_NAMES & set(name):
            raise ValueError(f"{name!r} cannot be part of an object's key")
    return "/".join([str(owner), *names])


# Presigning


async def presign_put(key: str, *, content_type: str, size_bytes: int, expires_seconds: int) -> Presigned:
    """A URL to which a browser may upload one body of exactly this type and length."""
    parameters = {"ContentType": content_type, "ContentLength": size_bytes}
    url = await _presign("put_object", key, parameters, expires_seconds)
    # Browsers set the length by themselves, and let no script do it.
    return Presigned(url, {"Content-Type": content_type})


async def presign_get(
    key: str, *, expires_seconds: int, filename: str | None = None, content_type: str | None = None
) -> str:
    """A URL from which a browser may read an object; with `filename` it saves it under that name."""
    parameters: dict[str, Any] = {}
    if filename is not None:
        parameters["ResponseContentDisposition"] = attachment(filename)
    if content_type is not None:
        parameters["ResponseContentType"] = content_type
    return await _presign("get_object", key, parameters, expires_seconds)


def attachment(filename: str) -> str:
    """A `Content-Disposition` that any name may go into (RFC 6266)."""
    plain = "".join(letter if letter.isascii() and letter.isprintable() else "_" for letter in filename)
    plain = plain.replace("\\", "_").replace('"', "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


async def _presign(operation: str, key: str, parameters: Mapping[str, Any], expires_seconds: int) -> str:
    def sign() -> str:
        named = {"Bucket": bucket(), "Key": key, **parameters}
        return str(public_client().generate_presigned_url(operation, Params=named, ExpiresIn=expires_seconds))

    return await in_thread(sign)


# Reading


async def head(key: str) -> ObjectHead:
    """What is known of an object.

    Raises:
        NotFound: `object_missing`.
        Unavailable: `storage_unavailable`.
    """
    answer = await call("head_object", Key=key)
    return ObjectHead(key, answer["ContentLength"], answer["ETag"], answer["LastModified"], answer["ContentType"])


async def get(key: str) -> bytes:
    """A small object, whole. Raises what `stream` does."""
    return b"".join([chunk async for chunk in stream(key)])


async def get_range(key: str, first: int, length: int, *, etag: str | None = None) -> bytes:
    """`length` bytes from `first` on, fewer at the object's end and none behind it.

    Raises:
        ObjectChanged: the object is no longer the one with this `etag`.
        NotFound, Unavailable: see `head`.
    """
    return await in_thread(partial(read_range, key, first, length, etag=etag))


def read_range(key: str, first: int, length: int, *, etag: str | None = None) -> bytes:
    """`get_range` for a thread that may block."""
    if length <= 0:
        return b""
    conditions = {"IfMatch": etag} if etag else {}
    with contextlib.suppress(BehindTheEnd), translating():
        body = client().get_object(Bucket=bucket(), Key=key, Range=f"bytes={first}-{first + length - 1}", **conditions)
        with contextlib.closing(body["Body"]) as content:
            return bytes(content.read())
    return b""


async def stream(key: str) -> AsyncIterator[bytes]:
    """The object's bytes in chunks. A connection that breaks in the middle is taken up again where it broke.

    Raises:
        NotFound, Unavailable: see `head`.
        ObjectChanged: somebody replaced the object in the middle.
    """
    sent, breaks, etag = 0, 0, ""
    total: int | None = None
    while total is None or sent < total:
        body = None
        try:
            conditions: dict[str, str] = {"Range": f"bytes={sent}-", "IfMatch": etag} if total is not None else {}
            answer = await call("get_object", Key=key, **conditions)
            body, etag = answer["Body"], answer["ETag"]
            total = sent + answer["ContentLength"]
            while chunk := await in_thread(partial(body.read, CHUNK_BYTES)):
                sent += len(chunk)
                yield chunk
        except Unavailable:
            breaks += 1
            if total is None or breaks > _RESUMED:
                raise
        finally:
            if body is not None:
                body.close()


# Writing


async def put(key: str, data: bytes, *, content_type: str) -> None:
    """Store one body under a key, in place of what was there. Raises Unavailable."""
    await call("put_object", Key=key, Body=data, ContentType=content_type)


async def put_stream(key: str, chunks: AsyncIterator[bytes], *, content_type: str) -> int:
    """Store a body of unknown length, in parts where it is large; nothing is kept of one that breaks off.

    Returns:
        Its length in bytes.

    Raises:
        Unavailable: `storage_unavailable`.
    """
    waiting = bytearray()
    upload: _Upload | None = None
    try:
        async for chunk in chunks:
            waiting += chunk
            while len(waiting) >= PART_BYTES:
                upload = upload or await _begin(key, content_type)
                await upload.add(bytes(waiting[:PART_BYTES]))
                del waiting[:PART_BYTES]
        if upload is None:
            await put(key, bytes(waiting), content_type=content_type)
            return len(waiting)
        if waiting:
            await upload.add(bytes(waiting))
        await upload.complete()
    except BaseException:
        if upload is not None:
            await asyncio.shield(upload.abort())
        raise
    return upload.size_bytes


class _Upload:
    """A multipart upload. S3 wants at least 5 MiB in each part but the last, and at most 10,000 parts."""

    def __init__(self, key: str, upload_id: str) -> None:
        self._names = {"Key": key, "UploadId": upload_id}
        self._key = key
        self._parts: list[dict[str, Any]] = []
        self.size_bytes = 0

    async def add(self, data: bytes) -> None:
        number = len(self._parts) + 1
        answer = await call("upload_part", PartNumber=number, Body=data, **self._names)
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        self.size_bytes += len(data)

    async def complete(self) -> None:
        try:
            await call("complete_multipart_upload", MultipartUpload={"Parts": self._parts}, **self._names)
        except NotFound:
            # The answer to an earlier try was lost: the upload has ended because it is complete.
            found = await head(self._key)
            if found.size_bytes != self.size_bytes or not found.etag.strip('"').endswith(f"-{len(self._parts)}"):
                raise

    async def abort(self) -> None:
        # Whatever stays behind is aborted with the owner's prefix, or by the bucket's own rule.
        with contextlib.suppress(OprinaError):
            await call("abort_multipart_upload", **self._names)


async def _begin(key: str, content_type: str) -> _Upload:
    answer = await call("create_multipart_upload", Key=key, ContentType=content_type)
    return _Upload(key, answer["UploadId"])


async def copy(source: str, target: str) -> None:
    """Store the same bytes and type under another key, inside the storage. Raises NotFound, Unavailable."""
    await call("copy_object", Key=target, CopySource={"Bucket": bucket(), "Key": source})


# Deleting and listing


async def delete(key: str) -> None:
    """Delete an object; one that does not exist is as good as deleted. Raises Unavailable."""
    await call("delete_object", Key=key)


async def delete_prefix(owner: UUID, *names: str) -> int:
    """Delete everything that a person has stored, or what lies under `names`; uploads that never ended too.

    May be repeated until it returns. What others store meanwhile is deleted as far as it is seen.

    Returns:
        How many objects were deleted.

    Raises:
        Unavailable: `storage_unavailable`; some may be deleted already.
    """
    prefix, deleted = object_key(owner, *names) + "/", 0
    await _abort_uploads(prefix)
    while keys := (await call("list_objects_v2", Prefix=prefix)).get("Contents"):
        wanted = {"Objects": [{"Key": each["Key"]} for each in keys], "Quiet": True}
        answer = await call("delete_objects", Delete=wanted)
        if answer.get("Errors"):
            raise Unavailable("Stored files could not be deleted just now. Try again.", code="storage_unavailable")
        deleted += len(keys)
    return deleted


async def _abort_uploads(prefix: str) -> None:
    markers: dict[str, str] = {}
    while True:
        answer = await call("list_multipart_uploads", Prefix=prefix, **markers)
        for upload in answer.get("Uploads", []):
            with contextlib.suppress(NotFound):
                await call("abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])
        if not answer.get("IsTruncated"):
            return
        markers = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}


async def list_prefix(owner: UUID, *names: str) -> AsyncIterator[StoredObject]:
    """Everything that a person has stored, or what lies under `names`, by key, page after page. Raises Unavailable."""
    prefix = object_key(owner, *names) + "/"
    more: dict[str, str] = {}
    while True:
        answer = await call("list_objects_v2", Prefix=prefix, **more)
        for each in answer.get("Contents", []):
            yield StoredObject(each["Key"], each["Size"], each["ETag"], each["LastModified"])
        if not answer.get("IsTruncated"):
            return
        more = {"ContinuationToken": answer["NextContinuationToken"]}


__all__ = ["ObjectChanged", "ObjectHead", "Presigned", "StorageSettings", "StoredObject"]
