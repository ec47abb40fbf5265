"""Headers that pretend: to be the gateway, to be another method, to come from elsewhere, or to be a line of the log."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from local.gateway.passage import MAX_HEADER_BYTES
from shared.runtime import logs
from tests.security.route_matrix import Cast, Town, operations
from tests.support import kit
from tests.support.backend import functions

ME = next(operation for operation in operations() if operation.route == "GET /v1/users/me")
SESSION = next(operation for operation in operations() if operation.route == "GET /v1/sessions/{session_id}")


def user_info(claims: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


@pytest.mark.parametrize("way", ["gateway", "function"])
@pytest.mark.parametrize(
    "name",
    [
        "X-Apigateway-Api-Userinfo",
        "X-Endpoint-Api-Userinfo",
        "X-Forwarded-User",
        "X-User-Id",
        "X-Goog-Iap-Jwt-Assertion",
    ],
)
async def test_a_header_about_the_caller_neither_makes_nor_changes_them(town: Town, way: str, name: str) -> None:
    cast = Cast(town.db, ME)
    info = {name: user_info({"sub": cast.owner.id, "sid": cast.owner.sign_in_id, "role": "authenticated"})}
    nobody = await town.send_content(ME, way, cast, "anonymous", b"", "", info)
    assert (nobody.status_code, nobody.json()["code"]) == (401, "token_missing")
    other = await town.send_content(ME, way, cast, "other", b"", "", info)
    assert other.json()["id"] == cast.other.id


async def test_the_gateway_passes_on_no_token_but_the_one_that_it_has_checked(town: Town) -> None:
    cast = Cast(town.db, ME)
    smuggled = {"X-Forwarded-Authorization": cast.headers("owner")["Authorization"]}
    nobody = await town.send_content(ME, "gateway", cast, "anonymous", b"", "", smuggled)
    assert nobody.status_code == 401
    other = await town.send_content(ME, "gateway", cast, "other", b"", "", smuggled)
    assert other.json()["id"] == cast.other.id


@pytest.mark.parametrize("way", ["gateway", "function"])
@pytest.mark.parametrize(
    "name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-Method", "X-Rewrite-Method"]
)
async def test_a_method_is_what_the_request_line_says(town: Town, way: str, name: str) -> None:
    cast = Cast(town.db, SESSION)
    answer = await town.send_content(SESSION, way, cast, "owner", b"", "", {name: "DELETE"})
    assert answer.status_code == 200
    again = await town.send_content(SESSION, way, cast, "owner", b"", "")
    assert again.status_code == 200


@pytest.mark.parametrize("name", ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Path", "X-Forwarded-Prefix"])
async def test_an_address_is_what_the_request_line_says(town: Town, name: str) -> None:
    cast = Cast(town.db, ME)
    for way in ("gateway", "function"):
        answer = await town.send_content(ME, way, cast, "anonymous", b"", "", {name: "/v1/health"})
        assert answer.status_code == 401


async def test_nobody_escapes_a_limit_by_address_with_addresses_of_their_own_making(town: Town) -> None:
    # Two proxies of ours append, the second one in this test's place; what stands left of that is the caller's own.
    ours, statuses = town.stack.new_address(), []
    for number in range(8):
        made_up = f"203.0.113.{number}, 2001:db8::{number}, {ours}"
        headers = {
            "X-Forwarded-For": made_up,
            "X-Real-Ip": f"198.51.100.{number}",
            "Forwarded": f"for=192.0.2.{number}",
        }
        body = {"email": f"{uuid4().hex}@oprina.test", "password": "speak-with-oprina"}
        statuses.append((await town.gateway.post("/v1/auth/register", json=body, headers=headers)).status_code)
    assert statuses[:5] == [202] * 5
    assert 429 in statuses[5:]


async def test_no_answer_leads_to_or_names_a_host_that_the_caller_chose(town: Town) -> None:
    headers = {"X-Forwarded-Host": "evil.test", "Host": "evil.test", "Origin": "https://evil.test"}
    for operation in operations():
        if operation.case is None:
            continue
        cast = Cast(town.db, operation)
        answer = await town.send_content(operation, "function", cast, "anonymous", b"", "", headers)
        assert "evil.test" not in str(answer.headers), operation.route
        assert "evil.test" not in answer.text, operation.route


@pytest.mark.parametrize("shape", ["one long header", "many headers"])
async def test_more_headers_than_the_platform_takes_are_refused_at_the_gateway(town: Town, shape: str) -> None:
    if shape == "one long header":
        flood = {"X-Padding": "x" * MAX_HEADER_BYTES}
    else:
        flood = {f"X-Padding-{number}": "x" * 100 for number in range(MAX_HEADER_BYTES // 100)}
    answer = await town.gateway.get("/v1/health", headers=flood)
    assert (answer.status_code, answer.json()["code"]) == (431, "headers_too_large")
    assert (await town.gateway.get("/v1/health", headers={"X-Padding": "x" * 50_000})).status_code == 200


# What would begin a line, colour a terminal, or end a member, if a log were written carelessly.
FORGERY = '"}\n{"severity": "ERROR", "message": "forged"}\r\n\x1b[31mforged\x1b[0m\u2028forged\x00'


async def test_nothing_that_a_caller_sends_becomes_a_line_or_a_member_of_the_log(town: Town) -> None:
    headers = [
        (name, FORGERY.encode("latin-1", "replace").decode("latin-1"))
        for name in ("x-request-id", "traceparent", "user-agent", "idempotency-key", "x-forwarded-for", "authorization")
    ]
    requests = 0
    with written_log() as written:
        for function in functions():
            for operation in function.operations:
                for path in (operation.path, operation.path + FORGERY):
                    await kit.speak(function.asgi, operation.method, path, [FORGERY.encode()], headers)
                    requests += 1
    entries = [json.loads(line) for line in written.getvalue().split("\n") if line]
    served = [entry for entry in entries if entry["message"] == "request served"]
    assert len(served) == requests
    assert "forged" not in json.dumps(entries)
    assert {name for entry in served for name in entry} == {
        "message", "function", "route", "status", "code", "duration_ms", "timestamp", "severity", "request_id",
        "logging.googleapis.com/trace", "logging.googleapis.com/spanId", "logging.googleapis.com/trace_sampled",
    }  # fmt: skip
    assert len({entry["request_id"] for entry in served}) == requests


@contextmanager
def written_log() -> Iterator[io.StringIO]:
    """What the product's logger writes, as it would leave the process."""
    handler = logs.logger().handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    written = io.StringIO()
    before = handler.setStream(written)
    try:
        yield written
    finally:
        handler.setStream(before)
