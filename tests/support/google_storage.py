"""Google Cloud Storage as far as publishing one object goes: the JSON interface, with generations and preconditions.

https://cloud.google.com/storage/docs/json_api/v1/objects
"""

from __future__ import annotations

import email
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.runtime import clock


@dataclass(frozen=True)
class Stored:
    generation: int
    content: bytes
    about: dict[str, Any]
    created_at: datetime

    def resource(self) -> dict[str, Any]:
        created = self.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {**self.about, "generation": str(self.generation), "timeCreated": created}


@dataclass
class Storage:
    """Buckets by their names, each with its objects; `answers` are given, once each, instead of doing anything."""

    buckets: dict[str, dict[str, Stored]] = field(default_factory=dict)
    answers: list[int] = field(default_factory=list)
    lose_answers: int = 0
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    written: int = 1_700_000_000

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/storage/v1/b/{bucket}/o/{name:path}", self._get),
                Route("/upload/storage/v1/b/{bucket}/o", self._insert, methods=["POST"]),
                Route("/{bucket}/{name:path}", self._public),
            ]
        )

    def put(self, bucket: str, name: str, content: bytes, about: dict[str, Any] | None = None) -> Stored:
        self.written += 1
        stored = Stored(self.written, content, {"name": name, "bucket": bucket, **(about or {})}, clock.now())
        self.buckets[bucket][name] = stored
        return stored

    async def _get(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        objects = self.buckets.get(request.path_params["bucket"])
        if objects is None:
            return _error(404, "The specified bucket does not exist.")
        name = request.path_params["name"]
        stored = objects.get(name)
        wanted = request.query_params.get("generation")
        if stored is None or (wanted is not None and int(wanted) != stored.generation):
            return _error(404, f"No such object: {request.path_params['bucket']}/{name}")
        if request.query_params.get("alt") == "media":
            return Response(stored.content, media_type=stored.about["contentType"])
        return JSONResponse(stored.resource())

    async def _insert(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        bucket = request.path_params["bucket"]
        if bucket not in self.buckets:
            return _error(404, "The specified bucket does not exist.")
        assert request.query_params["uploadType"] == "multipart"
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        parts: Any = email.message_from_bytes(head + await request.body()).get_payload()
        about, content = json.loads(parts[0].get_payload(decode=True)), parts[1].get_payload(decode=True)
        present = self.buckets[bucket].get(about["name"])
        if int(request.query_params["ifGenerationMatch"]) != (present.generation if present else 0):
            return _error(412, "At least one of the pre-conditions you specified did not hold.")
        stored = self.put(bucket, about["name"], content, about)
        if self.lose_answers:
            self.lose_answers -= 1
            return _error(503, "Backend Error")
        return JSONResponse(stored.resource())

    async def _public(self, request: Request) -> Response:
        stored = self.buckets.get(request.path_params["bucket"], {}).get(request.path_params["name"])
        if stored is None:
            return Response(status_code=404)
        headers = {"Cache-Control": stored.about["cacheControl"]}
        return Response(stored.content, media_type=stored.about["contentType"], headers=headers)

    def _refusal(self, request: Request) -> Response | None:
        self.seen.append((request.method, dict(request.headers)))
        return _error(self.answers.pop(0), "Backend Error") if self.answers else None


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"code": status, "message": message}}, status)
