"""Supabase Storage's S3 endpoint, as far as clients can tell: https://supabase.com/docs/guides/storage/s3/compatibility

Every request is checked as S3 checks it before anything is done: its signature, its time, its length. What the
functions sign for a browser is therefore refused here wherever it would be refused there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import unquote

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from local.faults import Fault, FaultBook
from local.storage import bodies
from local.storage.documents import refusal_document
from local.storage.operations import Call, Operations, check_key
from local.storage.refusals import S3Refusal, not_offered
from local.storage.signatures import Keys, Signed, verify
from shared.runtime import clock, ids

PREFIX: Final = "/storage/v1/s3"
STAND_IN: Final = "s3"
_METHODS: Final = ["GET", "HEAD", "PUT", "POST", "DELETE"]
_SHOWN: Final = ["ETag", "Content-Length", "Content-Range", "Content-Disposition", "Accept-Ranges", "x-amz-request-id"]
_PREFLIGHT_SECONDS: Final = 3600
_LOG = logging.getLogger("local.storage")

Operation = Callable[[Call], Awaitable[Response]]
# Method and the query's distinguishing word → the operation of a bucket, or of an object.
_OF_BUCKET: Final[Mapping[tuple[str, str], str]] = {
    ("HEAD", ""): "HeadBucket",
    ("GET", "location"): "GetBucketLocation",
    ("GET", "list-type"): "ListObjectsV2",
    ("GET", "uploads"): "ListMultipartUploads",
    ("POST", "delete"): "DeleteObjects",
}
_OF_OBJECT: Final[Mapping[tuple[str, str], str]] = {
    ("GET", ""): "GetObject",
    ("HEAD", ""): "HeadObject",
    ("PUT", ""): "PutObject",
    ("DELETE", ""): "DeleteObject",
    ("POST", "uploads"): "CreateMultipartUpload",
    ("PUT", "uploadId"): "UploadPart",
    ("GET", "uploadId"): "ListParts",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
}
_WORDS: Final = frozenset(word for _, word in (*_OF_BUCKET, *_OF_OBJECT) if word)
_WITH_BODY: Final = frozenset({"PutObject", "UploadPart"})
_WITH_DOCUMENT: Final = frozenset({"DeleteObjects", "CompleteMultipartUpload"})


class BrokenOff(Exception):
    """The connection ends in the middle of an answer, because a fault asked for it."""


def storage(operations: Operations, keys: Keys, faults: FaultBook) -> ASGIApp:
    """The application. Every origin may ask, as at Supabase: what opens an object is a signature and no cookie."""
    front = _Front(operations, keys, faults)
    return CORSMiddleware(
        front,
        allow_origins=["*"],
        allow_methods=_METHODS,
        allow_headers=["*"],
        expose_headers=_SHOWN,
        max_age=_PREFLIGHT_SECONDS,
    )


class _Front:
    def __init__(self, operations: Operations, keys: Keys, faults: FaultBook) -> None:
        self._operations = operations
        self._keys = keys
        self._faults = faults
        self._by_name: Mapping[str, Operation] = {
            "ListBuckets": operations.list_buckets,
            "HeadBucket": operations.head_bucket,
            "GetBucketLocation": operations.get_bucket_location,
            "ListObjectsV2": operations.list_objects_v2,
            "ListMultipartUploads": operations.list_multipart_uploads,
            "DeleteObjects": operations.delete_objects,
            "GetObject": operations.get_object,
            "HeadObject": operations.head_object,
            "PutObject": operations.put_object,
            "CopyObject": operations.copy_object,
            "DeleteObject": operations.delete_object,
            "CreateMultipartUpload": operations.create_multipart_upload,
            "UploadPart": operations.upload_part,
            "ListParts": operations.list_parts,
            "CompleteMultipartUpload": operations.complete_multipart_upload,
            "AbortMultipartUpload": operations.abort_multipart_upload,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, request_id = Request(scope, receive), str(ids.new_id())
        try:
            response = await self._answer(request)
        except S3Refusal as refusal:
            await bodies.drain(request)
            _LOG.info("%s %s %s", refusal.code, request.method, request.url.path)
            content = b"" if request.method == "HEAD" else refusal_document(refusal, request.url.path, request_id)
            response = Response(content, refusal.status, media_type="application/xml")
        except ClientDisconnect:
            return
        except BrokenOff:
            # A body in chunks of which none comes: no client can take it for a short answer.
            await send({"type": "http.response.start", "status": 200, "headers": [(b"transfer-encoding", b"chunked")]})
            raise
        response.headers["x-amz-request-id"] = request_id
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        signed = _signed(request)
        bucket, key = _addressed(signed.path)
        name = _operation(signed, bucket, key)
        fault = self._faults.for_call(STAND_IN, name)
        await _suffer(fault)
        payload = verify(signed, self._keys, clock.now())
        if bucket and bucket != self._operations.bucket:
            raise S3Refusal(404, "NoSuchBucket", "The specified bucket does not exist")
        check_key(key)
        call = await self._received(name, Call(bucket, key, signed.parameters, signed.headers), request, payload)
        response = await self._work(name, call, duplicate=fault.duplicate)
        if fault.lose_answer:
            _lose(response)
        return response

    async def _received(self, name: str, call: Call, request: Request, payload: str) -> Call:
        """The call with its body, however large."""
        if name in _WITH_DOCUMENT:
            return replace(call, document=await bodies.receive_document(request, call.headers, payload))
        if name not in _WITH_BODY:
            return call
        shelf, most = self._operations.shelf, self._operations.max_object_bytes
        return replace(call, received=await bodies.receive(request, call.headers, payload, shelf, most))

    async def _work(self, name: str, call: Call, *, duplicate: bool) -> Response:
        if not duplicate:
            return await self._once(name, call)
        again = call
        if call.received is not None:
            copy = await asyncio.to_thread(bodies.duplicated, self._operations.shelf, call.received)
            again = replace(call, received=copy)
        await self._once(name, call)
        return await self._once(name, again)

    async def _once(self, name: str, call: Call) -> Response:
        try:
            return await self._by_name[name](call)
        except S3Refusal:
            if call.received is not None:
                self._operations.shelf.abandon(call.received.piece)
            raise


def _signed(request: Request) -> Signed:
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    query: bytes = request.scope["query_string"]
    path = raw.partition(b"?")[0]
    return Signed(request.method, path.decode("latin-1"), query.decode("latin-1"), headers)


def _addressed(path: str) -> tuple[str, str]:
    """Bucket and key of a percent-encoded path; empty where it names none."""
    if path != PREFIX and not path.startswith(PREFIX + "/"):
        raise S3Refusal(404, "NoSuchKey", f"The storage answers under {PREFIX} only.")
    bucket, _, key = path[len(PREFIX) + 1 :].partition("/")
    try:
        return unquote(bucket, errors="strict"), unquote(key, errors="strict")
    except UnicodeDecodeError:
        raise S3Refusal(400, "InvalidURI", "Couldn't parse the specified URI.") from None


def _operation(signed: Signed, bucket: str, key: str) -> str:
    """What S3 calls the operation that a request asks for. Raises S3Refusal where it is not served."""
    if not bucket:
        if signed.method != "GET":
            raise S3Refusal(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
        return "ListBuckets"
    word = next((name for name in signed.parameters if name in _WORDS), "")
    name = (_OF_OBJECT if key else _OF_BUCKET).get((signed.method, word))
    copies = "x-amz-copy-source" in signed.headers
    if name is None or (copies and name != "PutObject"):
        raise not_offered(f"{signed.method} with these parameters")
    return "CopyObject" if copies else name


def _lose(response: Response) -> None:
    """Break off: in the middle of an object's bytes, or else before the first byte. Raises BrokenOff."""
    if not isinstance(response, bodies.Sent):
        raise BrokenOff
    whole, half = response.source, int(response.headers["content-length"]) // 2

    async def first_half() -> AsyncIterator[bytes]:
        left = half
        async for data in whole:
            yield data[:left]
            left -= len(data[:left])
            if left == 0:
                raise BrokenOff

    response.body_iterator = first_half()


async def _suffer(fault: Fault) -> None:
    if fault.delay_ms:
        await asyncio.sleep(fault.delay_ms / 1000)
    if fault.should_fail():
        code = {503: "SlowDown", 500: "InternalError"}.get(fault.http_status, "RequestRefused")
        raise S3Refusal(fault.http_status, code, "This failure was asked for.")
