"""Bodies that are too long, too slow, or not what they say: refused before anything is done with them."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Body

from shared.http.declaration import Caller, Function
from shared.http.declaration import Operation as Declared
from tests.security.route_matrix import Cast, Operation, Town, operations
from tests.support.backend import functions
from tests.support.gateway import running_gateway

WITH_BODY = [found for found in operations() if found.case and (found.case.body or found.case.recorded)]
TAKING_JSON = [found for found in WITH_BODY if found.case and found.case.body]
DECLARED: dict[str, Declared] = {found.route: found for function in functions() for found in function.operations}

OTHER_TYPES = [
    "", "text/plain", "text/json", "text/html", "application/x-www-form-urlencoded", "application/jsonp",
    "multipart/form-data; boundary=x", "application/json, text/plain", "application/xml",
    "text/plain; application/json", "json", "*/*",
]  # fmt: skip


async def pieces(size: int, piece: bytes) -> AsyncIterator[bytes]:
    """A body that announces no length."""
    for _ in range(size // len(piece) + 1):
        yield piece


@pytest.mark.parametrize("operation", WITH_BODY, ids=lambda operation: operation.route)
async def test_a_body_without_a_length_ends_where_the_limit_is(town: Town, operation: Operation) -> None:
    assert operation.case is not None
    media_type = "application/json" if operation.case.body else "audio/wav"
    cast = Cast(town.db, operation)
    content = pieces(DECLARED[operation.route].max_body_bytes, b" " * 65_536)
    answer = await town.send_content(operation, "gateway", cast, "owner", content, media_type)
    assert answer.status_code == 413, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("operation", TAKING_JSON, ids=lambda operation: operation.route)
async def test_json_that_does_not_say_so_is_not_read(town: Town, operation: Operation) -> None:
    assert operation.case is not None
    assert operation.case.body is not None
    cast = Cast(town.db, operation)
    before, content = cast.belongings()["users"], json.dumps(operation.case.body()).encode()
    for media_type in OTHER_TYPES:
        answer = await town.send_content(operation, "function", cast, "owner", content, media_type)
        if operation.route.endswith("/turns") and media_type.startswith("multipart/"):
            assert answer.status_code == 400, answer.text
        else:
            assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type"), media_type
    assert cast.belongings()["users"] == before


async def test_a_packed_body_is_not_unpacked(town: Town) -> None:
    # Nobody unpacks, so that a small body can never become a large one.
    operation = next(found for found in TAKING_JSON if found.route == "PATCH /v1/users/me")
    bomb = gzip.compress(json.dumps({"full_name": "x" * 10_000_000}).encode())
    for encoding in ("gzip", "deflate", "br"):
        answer = await town.send_content(
            operation,
            "gateway",
            Cast(town.db, operation),
            "owner",
            bomb,
            "application/json",
            {"Content-Encoding": encoding},
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "json_invalid"), answer.text


async def test_a_body_that_never_ends_is_given_up_at_the_functions_deadline(tmp_path: Path) -> None:
    function = Function(name="tests-slow", path="/v1/slow", timeout_seconds=1)

    @function.post("Take a wish", caller=Caller.EVERYONE)
    async def take(body: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        return body

    async with running_gateway(tmp_path, [function], {"tests-slow": function.asgi}) as gateway:
        host, _, port = gateway.base.removeprefix("http://").partition(":")
        reading, writing = await asyncio.open_connection(host, int(port))
        writing.write(
            b"POST /v1/slow HTTP/1.1\r\nHost: oprina.test\r\nContent-Type: application/json\r\n"
            b'Transfer-Encoding: chunked\r\n\r\n2\r\n{"\r\n'
        )
        answer = await reading.readuntil(b"\r\n\r\n")
        problem = json.loads(await reading.readexactly(_length(answer)))
        writing.close()
        assert answer.startswith(b"HTTP/1.1 504 ")
        assert problem["code"] == "deadline"
        # And the next one is served.
        assert (await gateway.client.post("/v1/slow", json={"a": 1})).json() == {"a": 1}


def _length(head: bytes) -> int:
    found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    assert found is not None, head
    return int(found[1])


async def test_a_form_of_very_many_parts_is_refused(town: Town) -> None:
    operation = next(found for found in WITH_BODY if found.route.endswith("/turns"))
    part = '--x\r\nContent-Disposition: form-data; name="field{}"\r\n\r\n1\r\n'
    body = "".join(part.format(number) for number in range(5000)) + "--x--\r\n"
    answer: httpx.Response = await town.send_content(
        operation, "function", Cast(town.db, operation), "owner", body.encode(), "multipart/form-data; boundary=x"
    )
    assert answer.status_code == 400, answer.text


UNREADABLE = {
    "no such field": (b'{"text": "Hello", "model": "other"}', "application/json"),
    "no text": (b'{"text": ""}', "application/json"),
    "no JSON": (b"{", "application/json"),
    "a form that is none": (b"{}", "multipart/form-data; boundary=x"),
    "a form without audio": (b"--x--\r\n", "multipart/form-data; boundary=x"),
    "audio that is none": (b"\0" * 100, "audio/wav"),
    "another kind": (b"Hello", "text/plain"),
}


@pytest.mark.parametrize("name", UNREADABLE)
async def test_a_question_that_cannot_be_read_leaves_its_session_free(town: Town, name: str) -> None:
    operation = next(found for found in WITH_BODY if found.route.endswith("/turns"))
    cast = Cast(town.db, operation)
    content, media_type = UNREADABLE[name]
    refused = await town.send_content(operation, "gateway", cast, "owner", content, media_type)
    assert 400 <= refused.status_code < 500, refused.text
    good = await town.send_content(operation, "gateway", cast, "owner", b'{"text": "Hello"}', "application/json")
    assert good.status_code == 201, good.text
