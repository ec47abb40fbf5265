"""Whatever goes wrong is told as a problem document, and nothing internal is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from shared.runtime.errors import OprinaError
from shared.runtime.problem import problem_document
from tests.support import kit

MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id", "retryable"}


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    document: dict[str, Any] = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, document["status"], document["code"]) == (status, status, code)
    assert document.keys() >= MEMBERS
    assert document["type"] == f"urn:oprina:problem:{code}"
    assert document["instance"] == answer.request.url.path
    assert document["request_id"] == answer.headers["x-request-id"]
    return document


async def test_a_refused_field_is_named_and_its_value_is_not_repeated(kit_client: httpx.AsyncClient) -> None:
    answer = await kit_client.post("/v1/things/a", json={"text": "x", "count": "my-secret-value"})
    document = assert_problem(answer, 422, "validation_failed")
    assert [(item["field"], item["code"]) for item in document["errors"]] == [("count", "int_parsing")]
    assert "my-secret-value" not in answer.text


async def test_an_unknown_field_is_refused(kit_client: httpx.AsyncClient) -> None:
    document = assert_problem(
        await kit_client.post("/v1/things/a", json={"text": "x", "colour": "red"}), 422, "validation_failed"
    )
    assert [item["field"] for item in document["errors"]] == ["colour"]


@pytest.mark.parametrize("body", ["{", '{"text": "x"', "[" * 100_000])
async def test_a_body_that_is_not_json_is_a_bad_request(kit_environment: pytest.MonkeyPatch, body: str) -> None:
    function = kit.sample()
    spoken = await kit.speak(
        function.asgi, "POST", "/v1/things/a", [body.encode()[:900]], [("Content-Type", "application/json")]
    )
    assert (spoken.status, spoken.document["status"]) == (400, 400)


async def test_a_body_of_another_kind_is_unsupported(kit_client: httpx.AsyncClient) -> None:
    answer = await kit_client.post("/v1/things/a", content=b"text=x", headers={"Content-Type": "text/plain"})
    assert_problem(answer, 415, "unsupported_media_type")


async def test_a_token_problem_says_how_to_authenticate(kit_client: httpx.AsyncClient) -> None:
    answer = await kit_client.get("/v1/things/unauthenticated")
    assert assert_problem(answer, 401, "token_expired")["retryable"] is False
    assert answer.headers["www-authenticate"].startswith("Bearer ")


async def test_a_limit_that_is_used_up_says_when_to_come_back(kit_client: httpx.AsyncClient) -> None:
    answer = await kit_client.get("/v1/things/limited")
    document = assert_problem(answer, 429, "rate_limited")
    assert document["retryable"] is True
    assert answer.headers["retry-after"] == "4"
    assert answer.headers["ratelimit-policy"] == '"route";q=60;w=60'
    assert answer.headers["ratelimit"] == '"route";r=0;t=9'
    assert "limit" not in document


async def test_a_dependency_that_is_away_is_retryable(kit_client: httpx.AsyncClient) -> None:
    answer = await kit_client.get("/v1/things/away")
    assert assert_problem(answer, 503, "database_unavailable")["retryable"] is True
    assert answer.headers["retry-after"] == "2"


async def test_what_is_left_of_the_limit_travels_with_a_success(kit_client: httpx.AsyncClient) -> None:
    answer = await kit_client.get("/v1/things/a")
    assert answer.status_code == 200
    assert answer.headers["ratelimit-policy"] == '"route";q=60;w=60'
    assert answer.headers["ratelimit"] == '"route";r=7;t=13'


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
async def test_a_method_that_is_not_declared_is_refused_with_those_that_are(
    kit_client: httpx.AsyncClient, method: str
) -> None:
    answer = await kit_client.request(method, "/v1/things/a")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, PATCH, POST"
    if method != "HEAD":
        assert_problem(answer, 405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/", "/v1/things", "/v1/things/a/b", "/openapi.json", "/docs"])
async def test_another_address_is_not_found(kit_client: httpx.AsyncClient, path: str) -> None:
    assert_problem(await kit_client.get(path), 404, "not_found")


async def test_an_unforeseen_failure_says_nothing_internal_and_is_logged(
    kit_client: httpx.AsyncClient, kit_log: Callable[[], list[dict[str, Any]]]
) -> None:
    answer = await kit_client.get("/v1/things/unforeseen")
    document = assert_problem(answer, 500, "internal")
    assert kit.INTERNAL not in answer.text
    assert "RuntimeError" not in answer.text
    failure, served = kit_log()
    assert "RuntimeError" in failure["exc_info"]
    assert failure["severity"] == served["severity"] == "ERROR"
    assert failure["request_id"] == document["request_id"]


async def test_a_failure_after_the_answer_began_does_not_begin_another(
    kit_environment: pytest.MonkeyPatch, kit_log: Callable[[], list[dict[str, Any]]]
) -> None:
    spoken = await kit.speak(kit.sample().asgi, "PATCH", "/v1/things/break-off")
    kinds = [message["type"] for message in spoken.sent]
    assert kinds.count("http.response.start") == 1
    written = b"".join(message.get("body", b"") for message in spoken.sent)
    assert written == b"so far "
    # The last piece is missing, so that the client can tell a broken answer from a short one.
    assert all(message.get("more_body", True) for message in spoken.sent)
    assert any("exc_info" in line for line in kit_log())


async def test_a_replay_gives_the_first_answer_again(kit_client: httpx.AsyncClient) -> None:
    answer = await kit_client.get("/v1/things/replayed")
    assert (answer.status_code, answer.json()) == (201, {"thing": "first"})
    assert answer.headers["idempotency-replayed"] == "true"


async def test_a_replayed_failure_is_a_problem_document_again(kit_client: httpx.AsyncClient) -> None:
    answer = await kit_client.get("/v1/things/replayed-failure")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("path", ["/v1/things/a", "/v1/things/unforeseen", "/nowhere"])
async def test_every_answer_carries_the_headers_that_protect_it(kit_client: httpx.AsyncClient, path: str) -> None:
    headers = (await kit_client.get(path)).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "max-age=" in headers["strict-transport-security"]


def test_every_error_of_the_tree_makes_a_whole_document() -> None:
    kinds, waiting = [OprinaError], [OprinaError]
    while waiting:
        children = [kind for kind in waiting.pop().__subclasses__() if kind.__module__.startswith("shared.runtime")]
        kinds, waiting = kinds + children, waiting + children
    assert len(kinds) > 10
    for kind in kinds:
        document = problem_document(kind("What happened."))
        assert document.keys() >= MEMBERS
        assert document["status"] == kind.status
        json.dumps(document)
