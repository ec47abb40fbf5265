"""The local gateway does what API Gateway and the platform do, so that what passes here passes there."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from local.gateway.passage import MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, MAX_STREAMED_BYTES
from local.gateway.routing import RouteTable
from shared.http.declaration import MIB, Caller, Function
from shared.http.settings import HttpSettings
from tests.support.gateway import RunningGateway, eventually, running_gateway

seen: dict[str, Any] = {}

echo = Function(name="test-echo", path="/v1/echo/{name}")
mine = Function(name="test-mine", path="/v1/mine")
slow = Function(name="test-slow", path="/v1/slow", timeout_seconds=1)
stream = Function(name="test-stream", path="/v1/stream", timeout_seconds=1)
large = Function(name="test-large", path="/v1/large")
literal = Function(name="test-literal", path="/v1/echo/literal")


@echo.get("What arrived", caller=Caller.EVERYONE)
async def read_echo(request: Request, name: str) -> dict[str, Any]:
    return {"name": name, "headers": dict(request.headers), "query": request.url.query}


@echo.post("How much arrived", caller=Caller.EVERYONE, max_body_bytes=64 * MIB)
async def count_echo(request: Request, name: str) -> dict[str, Any]:
    return {"name": name, "size": sum([len(chunk) async for chunk in request.stream()])}


@mine.get("What a signed-in person sees", caller=Caller.PERSON)
async def read_mine(request: Request) -> dict[str, Any]:
    return {"headers": dict(request.headers)}


@mine.post("What the agent's tools see", caller=Caller.CAPABILITY)
async def use_capability(request: Request) -> dict[str, Any]:
    return {"headers": dict(request.headers)}


@slow.get("Later than the deadline", caller=Caller.EVERYONE)
async def wait_long(request: Request) -> dict[str, Any]:
    while not await request.is_disconnected():  # noqa: ASYNC110 - this is how a handler learns of it
        await asyncio.sleep(0.01)
    seen["slow told"] = True
    return {}


@stream.get("Begins in time, ends late", caller=Caller.EVERYONE, streams=True)
async def stream_long(endless: bool = True) -> StreamingResponse:
    async def ticks() -> AsyncIterator[str]:
        try:
            for number in range(10_000 if endless else 5):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0.05)
        finally:
            seen["stream ended"] = True

    return StreamingResponse(ticks(), media_type="text/event-stream")


@large.get("As many bytes as asked", caller=Caller.EVERYONE)
async def send_large(size: int, streamed: bool = False) -> Response:
    if not streamed:
        return Response(b"x" * size)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(size // MIB):
            yield b"x" * MIB

    return StreamingResponse(pieces())


@literal.get("A literal segment", caller=Caller.EVERYONE)
async def read_literal() -> dict[str, str]:
    return {"literal": "yes"}


FUNCTIONS = [echo, mine, slow, stream, large, literal]


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    apps = {function.name: function.asgi for function in FUNCTIONS}
    async with running_gateway(tmp_path_factory.mktemp("gateway"), FUNCTIONS, apps) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class TestRouting:
    async def test_a_path_reaches_its_function_with_parameters_and_query(self, gateway: RunningGateway) -> None:
        answer = await gateway.client.get("/v1/echo/some%20name?a=1&b=%2F")
        assert answer.status_code == 200
        assert (answer.json()["name"], answer.json()["query"]) == ("some name", "a=1&b=%2F")

    async def test_a_literal_segment_wins_over_a_parameter(self, gateway: RunningGateway) -> None:
        assert (await gateway.client.get("/v1/echo/literal")).json() == {"literal": "yes"}

    @pytest.mark.parametrize("path", ["/v1/nothing", "/v1/echo", "/v1/echo/a/b", "/v1/echo/", "/.well-known/no"])
    async def test_an_unknown_path_is_a_404_problem(self, gateway: RunningGateway, path: str) -> None:
        answer = await gateway.client.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "not_found"
        assert answer.json()["instance"] == path
        assert answer.json()["request_id"] == answer.headers["x-request-id"]

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "OPTIONS"])
    async def test_an_undeclared_method_is_a_405_that_names_the_declared_ones(
        self, gateway: RunningGateway, method: str
    ) -> None:
        answer = await gateway.client.request(method, "/v1/echo/a")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, POST"

    async def test_a_preflight_is_left_to_the_function(self, gateway: RunningGateway) -> None:
        asked = {"Origin": "https://elsewhere.test", "Access-Control-Request-Method": "GET"}
        answer = await gateway.client.options("/v1/mine", headers=asked)
        assert answer.status_code == 400
        assert "origin" in answer.text.lower()
        assert "access-control-allow-origin" not in answer.headers

    async def test_a_page_of_an_allowed_origin_can_read_why_it_was_refused(
        self, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        allowed = HttpSettings(allowed_origins="https://app.oprina.test")
        monkeypatch.setattr("local.gateway.api.load", lambda _: allowed)
        answer = await gateway.client.get("/v1/mine", headers={"Origin": "https://app.oprina.test"})
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == "https://app.oprina.test"
        foreign = await gateway.client.get("/v1/mine", headers={"Origin": "https://evil.test"})
        assert "access-control-allow-origin" not in foreign.headers

    def test_the_template_of_every_declared_function_finds_that_function(self) -> None:
        table = RouteTable(FUNCTIONS)
        for function in FUNCTIONS:
            match = table.find(function.path.replace("{name}", "0190"))
            assert match is not None
            assert match.function is function


class TestTokens:
    async def test_a_valid_token_passes_and_the_function_gets_it_as_the_gateway_hands_it_on(
        self, gateway: RunningGateway
    ) -> None:
        token = gateway.issuer.sign(sid="s")
        answer = await gateway.client.get("/v1/mine", headers=bearer(token))
        headers = answer.json()["headers"]
        assert answer.status_code == 200
        assert headers["x-forwarded-authorization"] == f"Bearer {token}"
        assert "authorization" not in headers
        claims = headers["x-apigateway-api-userinfo"]
        assert not claims.endswith("=")
        assert json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sid"] == "s"

    async def test_without_a_token_it_is_a_401_with_a_challenge(self, gateway: RunningGateway) -> None:
        answer = await gateway.client.get("/v1/mine")
        assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"

    async def test_an_expired_token_says_so(self, gateway: RunningGateway) -> None:
        token = gateway.issuer.sign(exp=int(time.time()) - 1)
        answer = await gateway.client.get("/v1/mine", headers=bearer(token))
        assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")

    @pytest.mark.parametrize(
        "changes",
        [
            {"iss": "https://other.test"},
            {"aud": "other"},
            {"iss": None},
            {"aud": None},
            {"exp": None},
            {"iat": None},
            {"sub": None},
            {"kid": "unknown"},
            {"key": ec.generate_private_key(ec.SECP256R1())},
        ],
        ids=",".join,
    )
    async def test_a_token_that_is_wrong_in_one_thing_is_refused(
        self, gateway: RunningGateway, changes: dict[str, Any]
    ) -> None:
        answer = await gateway.client.get("/v1/mine", headers=bearer(gateway.issuer.sign(**changes)))
        assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")

    async def test_a_token_without_signature_is_refused(self, gateway: RunningGateway) -> None:
        claims = jwt.decode(gateway.issuer.sign(), options={"verify_signature": False})
        token = jwt.encode(claims, "", "none", headers={"kid": "one"})
        assert (await gateway.client.get("/v1/mine", headers=bearer(token))).status_code == 401

    async def test_what_only_the_gateway_may_say_is_taken_from_callers(self, gateway: RunningGateway) -> None:
        forged = {
            "X-Forwarded-Authorization": "Bearer forged",
            "X-Apigateway-Api-Userinfo": "e30",
            "X-ApiGateway-X": "1",
        }
        assert (await gateway.client.get("/v1/mine", headers=forged)).status_code == 401
        headers = (await gateway.client.get("/v1/echo/a", headers=forged)).json()["headers"]
        assert not [name for name in headers if name.startswith("x-apigateway-") or name == "x-forwarded-authorization"]

    async def test_a_capability_is_handed_on_unchecked(self, gateway: RunningGateway) -> None:
        answer = await gateway.client.post("/v1/mine", headers=bearer("opaque"))
        assert answer.json()["headers"]["x-forwarded-authorization"] == "Bearer opaque"

    async def test_the_callers_address_is_added_at_the_right(self, gateway: RunningGateway) -> None:
        answer = await gateway.client.get("/v1/echo/a", headers={"X-Forwarded-For": "6.6.6.6"})
        assert answer.json()["headers"]["x-forwarded-for"] == "6.6.6.6, 127.0.0.1"


class TestLimits:
    async def test_a_body_that_announces_too_much_is_refused_unread(self, gateway: RunningGateway) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.places.port)
        announced = f"Host: 127.0.0.1\r\nContent-Length: {MAX_REQUEST_BYTES + 1}\r\n\r\n"
        writer.write(f"POST /v1/echo/a HTTP/1.1\r\n{announced}".encode())
        assert (await reader.readline()).split()[1] == b"413"
        assert b'"code":"body_too_large"' in await reader.read(4096)
        writer.close()

    async def test_a_body_that_grows_too_large_on_the_way_is_refused(self, gateway: RunningGateway) -> None:
        status, sent = await send_chunked(gateway.places.port, "/v1/echo/a", MAX_REQUEST_BYTES + 2 * MIB)
        assert status == 413
        assert sent > MAX_REQUEST_BYTES - MIB

    async def test_a_body_of_just_the_limit_passes(self, gateway: RunningGateway) -> None:
        answer = await gateway.client.post("/v1/echo/a", content=b"x" * MAX_REQUEST_BYTES)
        assert answer.json()["size"] == MAX_REQUEST_BYTES

    @pytest.mark.parametrize(("size", "status"), [(50_000, 200), (70_000, 431)])
    async def test_headers_have_room_for_60_kb(self, gateway: RunningGateway, size: int, status: int) -> None:
        answer = await gateway.client.get("/v1/echo/a", headers={"X-Large": "x" * size})
        assert answer.status_code == status

    async def test_an_answer_of_just_the_limit_passes_and_a_larger_one_does_not(self, gateway: RunningGateway) -> None:
        passed = await gateway.client.get(f"/v1/large?size={MAX_RESPONSE_BYTES}")
        assert len(passed.content) == MAX_RESPONSE_BYTES
        refused = await gateway.client.get(f"/v1/large?size={MAX_RESPONSE_BYTES + 1}")
        assert (refused.status_code, refused.json()["code"]) == (500, "response_too_large")

    async def test_a_streamed_answer_is_cut_at_10_mb(self, gateway: RunningGateway) -> None:
        whole = await gateway.client.get(f"/v1/large?streamed=true&size={MAX_STREAMED_BYTES}")
        assert len(whole.content) == MAX_STREAMED_BYTES
        received = await until_cut(gateway, f"/v1/large?streamed=true&size={12 * MIB}")
        assert 0 < sum(received) <= MAX_STREAMED_BYTES

    async def test_past_the_deadline_it_is_504_and_the_function_learns_that_nobody_waits(
        self, gateway: RunningGateway
    ) -> None:
        began = time.monotonic()
        answer = await gateway.client.get("/v1/slow")
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline")
        assert time.monotonic() - began >= 1
        assert await eventually(lambda: "slow told" in seen)

    async def test_the_deadline_cuts_a_stream_that_is_still_being_sent(self, gateway: RunningGateway) -> None:
        assert len(await until_cut(gateway, "/v1/stream")) > 5
        assert await eventually(lambda: "stream ended" in seen)

    async def test_a_stream_that_ends_in_time_arrives_whole_and_piece_by_piece(self, gateway: RunningGateway) -> None:
        async with gateway.client.stream("GET", "/v1/stream?endless=false") as answer:
            times = [time.monotonic() async for _ in answer.aiter_raw()]
        assert len(times) == 5
        assert times[-1] - times[0] > 0.15

    async def test_a_caller_who_leaves_is_noticed_by_the_function(self, gateway: RunningGateway) -> None:
        async with gateway.client.stream("GET", "/v1/stream") as answer:
            await anext(answer.aiter_raw())
        assert await eventually(lambda: "stream ended" in seen, seconds=0.8)


async def until_cut(gateway: RunningGateway, path: str) -> list[int]:
    """The sizes of the pieces that arrive before the answer is broken off; fails if it never is."""
    sizes: list[int] = []

    async def read() -> None:
        async with gateway.client.stream("GET", path) as answer:
            async for piece in answer.aiter_raw():
                sizes.append(len(piece))  # noqa: PERF401 - what arrived before the error must be kept

    with pytest.raises(httpx.RemoteProtocolError):
        await read()
    return sizes


async def send_chunked(port: int, path: str, size: int) -> tuple[int, int]:
    """Send a chunked body until the server has answered or all is sent. Returns the status and the bytes sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    answer = asyncio.create_task(reader.readline())
    sent = 0
    while sent < size and not answer.done():
        writer.write(b"%x\r\n%s\r\n" % (MIB // 4, b"x" * (MIB // 4)))
        await asyncio.sleep(0)
        try:
            await writer.drain()
        except ConnectionError:
            break
        sent += MIB // 4
    status = int((await answer).split()[1])
    writer.close()
    return status, sent
