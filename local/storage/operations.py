"""The operations of S3 that the product and ordinary clients use, by the names that S3 gives them.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Final
from urllib.parse import unquote

from starlette.responses import Response

from local.storage import bodies, listing
from local.storage.bodies import Received
from local.storage.documents import completed_parts, deletions, document
from local.storage.refusals import S3Refusal, invalid, no_such_key, no_such_upload, not_offered
from local.storage.shelf import Kept, Shelf, Upload

SMALLEST_PART_BYTES: Final = 5 * 1024 * 1024
MOST_PARTS: Final = 10_000
LONGEST_KEY_BYTES: Final = 1024
# What is kept with an object and given back with it.
_KEPT_HEADERS: Final = (
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
)
_METADATA: Final = "x-amz-meta-"
_DEFAULT_TYPE: Final = "binary/octet-stream"
_RANGE: Final = re.compile(r"bytes=(?P<first>\d*)-(?P<last>\d*)")


@dataclass(frozen=True)
class Call:
    """A request whose signature was right. `document` is a small body; a large one is `received`."""

    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    document: bytes = b""
    received: Received | None = None


class Operations:
    """Each method answers one operation of S3. Raises S3Refusal."""

    def __init__(self, shelf: Shelf, bucket: str, region: str, max_object_bytes: int) -> None:
        self.shelf = shelf
        self.bucket = bucket
        self.region = region
        self.max_object_bytes = max_object_bytes

    # buckets

    async def list_buckets(self, _: Call) -> Response:
        return _xml("ListAllMyBucketsResult", {"Owner": {"ID": "local"}, "Buckets": {"Bucket": {"Name": self.bucket}}})

    async def head_bucket(self, _: Call) -> Response:
        return Response(headers={"x-amz-bucket-region": self.region})

    async def get_bucket_location(self, _: Call) -> Response:
        return Response(
            document("LocationConstraint", {}).replace(b" />", f">{self.region}</LocationConstraint>".encode()),
            media_type="application/xml",
        )

    async def list_objects_v2(self, call: Call) -> Response:
        content = await asyncio.to_thread(listing.objects, self.shelf, call.bucket, call.query)
        return _xml("ListBucketResult", content)

    async def list_multipart_uploads(self, call: Call) -> Response:
        content = await asyncio.to_thread(listing.uploads, self.shelf, call.bucket, call.query)
        return _xml("ListMultipartUploadsResult", content)

    async def delete_objects(self, call: Call) -> Response:
        keys, quiet = deletions(call.document)
        await asyncio.to_thread(self.shelf.delete, call.bucket, keys)
        return _xml("DeleteResult", {} if quiet else {"Deleted": [{"Key": key} for key in keys]})

    # objects

    async def put_object(self, call: Call) -> Response:
        assert call.received is not None
        received = call.received
        await asyncio.to_thread(
            self.shelf.put, call.bucket, call.key, received.etag, received.piece, _kept_headers(call.headers)
        )
        return Response(headers={"etag": f'"{received.etag}"'})

    async def copy_object(self, call: Call) -> Response:
        source = await self._source(call.headers)
        replaced = call.headers.get("x-amz-metadata-directive", "COPY") == "REPLACE"
        headers = _kept_headers(call.headers) if replaced else source.headers
        kept = await asyncio.to_thread(self.shelf.copy, source, call.bucket, call.key, headers)
        return _xml("CopyObjectResult", {"LastModified": kept.modified_at, "ETag": f'"{kept.etag}"'})

    async def _source(self, headers: Mapping[str, str]) -> Kept:
        bucket, _, key = unquote(headers["x-amz-copy-source"]).removeprefix("/").partition("/")
        if bucket != self.bucket:
            raise S3Refusal(404, "NoSuchBucket", "The specified bucket does not exist")
        kept = await self._find(bucket, key)
        wanted = headers.get("x-amz-copy-source-if-match")
        if wanted is not None and wanted.strip('"') != kept.etag:
            raise _precondition_failed()
        return kept

    async def get_object(self, call: Call) -> Response:
        kept = await self._find(call.bucket, call.key)
        if (early := _conditions(kept, call.headers)) is not None:
            return early
        headers = _object_headers(kept) | _asked_for(call.query)
        first, length, status = _range(call.headers.get("range"), kept.size)
        headers["content-length"] = str(length)
        if status == 206:
            headers["content-range"] = f"bytes {first}-{first + length - 1}/{kept.size}"
        return bodies.Sent(bodies.send(self.shelf, kept, first, length), status, headers)

    async def head_object(self, call: Call) -> Response:
        kept = await self._find(call.bucket, call.key)
        if (early := _conditions(kept, call.headers)) is not None:
            return early
        return Response(headers=_object_headers(kept) | _asked_for(call.query) | {"content-length": str(kept.size)})

    async def delete_object(self, call: Call) -> Response:
        await asyncio.to_thread(self.shelf.delete, call.bucket, [call.key])
        return Response(status_code=204)

    async def _find(self, bucket: str, key: str) -> Kept:
        kept = await asyncio.to_thread(self.shelf.find, bucket, key)
        if kept is None:
            raise no_such_key()
        return kept

    # multipart uploads

    async def create_multipart_upload(self, call: Call) -> Response:
        upload = await asyncio.to_thread(self.shelf.begin, call.bucket, call.key, _kept_headers(call.headers))
        return _xml("InitiateMultipartUploadResult", {"Bucket": call.bucket, "Key": call.key, "UploadId": upload.id})

    async def upload_part(self, call: Call) -> Response:
        assert call.received is not None
        upload, number, received = await self._upload(call), _part_number(call.query), call.received
        parts = await asyncio.to_thread(self.shelf.parts, upload.id)
        others = sum(part.piece.size for part in parts if part.number != number)
        if others + received.piece.size > self.max_object_bytes:
            raise _too_large(self.max_object_bytes)
        if not await asyncio.to_thread(self.shelf.add_part, upload.id, number, received.etag, received.piece):
            raise no_such_upload()
        return Response(headers={"etag": f'"{received.etag}"'})

    async def list_parts(self, call: Call) -> Response:
        upload = await self._upload(call)
        content = await asyncio.to_thread(listing.parts, self.shelf, upload, call.query)
        return _xml("ListPartsResult", content)

    async def complete_multipart_upload(self, call: Call) -> Response:
        upload, wanted = await self._upload(call), completed_parts(call.document)
        numbers = [number for number, _ in wanted]
        if numbers != sorted(set(numbers)):
            raise S3Refusal(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
        present = {part.number: part for part in await asyncio.to_thread(self.shelf.parts, upload.id)}
        if any(number not in present or present[number].etag != etag for number, etag in wanted):
            # Another request may have ended the upload in between.
            await self._upload(call)
            raise S3Refusal(400, "InvalidPart", "One or more of the specified parts could not be found.")
        if any(present[number].piece.size < SMALLEST_PART_BYTES for number in numbers[:-1]):
            raise S3Refusal(
                400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size."
            )
        etag = _multipart_etag([etag for _, etag in wanted])
        if await asyncio.to_thread(self.shelf.complete, upload, etag, numbers) is None:
            raise no_such_upload()
        return _xml("CompleteMultipartUploadResult", {"Bucket": call.bucket, "Key": call.key, "ETag": f'"{etag}"'})

    async def abort_multipart_upload(self, call: Call) -> Response:
        upload = await self._upload(call)
        if not await asyncio.to_thread(self.shelf.abort, upload.id):
            raise no_such_upload()
        return Response(status_code=204)

    async def _upload(self, call: Call) -> Upload:
        upload = await asyncio.to_thread(self.shelf.upload, call.query["uploadId"], call.bucket, call.key)
        if upload is None:
            raise no_such_upload()
        return upload


def _xml(name: str, content: Mapping[str, object]) -> Response:
    return Response(document(name, content), media_type="application/xml")  # type: ignore[arg-type]


def _too_large(most: int) -> S3Refusal:
    return S3Refusal(400, "EntityTooLarge", f"Your proposed upload exceeds the maximum allowed size of {most} bytes.")


def _precondition_failed() -> S3Refusal:
    return S3Refusal(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")


def _part_number(query: Mapping[str, str]) -> int:
    raw = query.get("partNumber", "")
    if not raw.isdecimal() or not 1 <= int(raw) <= MOST_PARTS:
        raise invalid(f"Part number must be an integer between 1 and {MOST_PARTS}, inclusive")
    return int(raw)


def _multipart_etag(etags: list[str]) -> str:
    joined = b"".join(bytes.fromhex(etag) for etag in etags)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(etags)}"


def _kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in headers.items() if name in _KEPT_HEADERS or name.startswith(_METADATA)}
    return {"content-type": _DEFAULT_TYPE, **kept}


def _object_headers(kept: Kept) -> dict[str, str]:
    return {
        **kept.headers,
        "etag": f'"{kept.etag}"',
        "last-modified": format_datetime(kept.modified_at.replace(microsecond=0), usegmt=True),
        "accept-ranges": "bytes",
    }


def _asked_for(query: Mapping[str, str]) -> dict[str, str]:
    """Headers of the answer that the signed request itself names."""
    return {
        name.removeprefix("response-"): value
        for name, value in query.items()
        if name.startswith("response-") and name.removeprefix("response-") in _KEPT_HEADERS
    }


def _conditions(kept: Kept, headers: Mapping[str, str]) -> Response | None:
    if "if-match" in headers and headers["if-match"].strip('"') not in {kept.etag, "*"}:
        raise _precondition_failed()
    if headers.get("if-none-match", "").strip('"') in {kept.etag, "*"}:
        return Response(status_code=304, headers={"etag": f'"{kept.etag}"'})
    return None


def _range(header: str | None, size: int) -> tuple[int, int, int]:
    """First byte, number of bytes, and the status, for one range (RFC 9110, section 14); several are not served."""
    match = _RANGE.fullmatch(header) if header else None
    if match is None or match.group("first") == match.group("last") == "":
        if header and "," in header:
            raise not_offered("More than one range")
        return 0, size, 200
    first, last = match.group("first"), match.group("last")
    if first == "":
        start, end = max(size - int(last), 0), size
        start = size if int(last) == 0 else start
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if start >= size or (first and last and int(last) < int(first)):
        raise S3Refusal(416, "InvalidRange", "The requested range is not satisfiable")
    return start, end - start, 206


def check_key(key: str) -> None:
    """Raises S3Refusal."""
    if len(key.encode()) > LONGEST_KEY_BYTES:
        raise S3Refusal(400, "KeyTooLongError", "Your key is too long")
    if "\0" in key:
        raise invalid("A key cannot hold the NUL character.")
