"""Every request can be followed through the logs, and the logs hold nothing that a person said or sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from shared.runtime import logs, telemetry
from shared.runtime.errors import Unavailable

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
LogLines = Callable[[], list[dict[str, Any]]]


async def test_a_plain_request_id_is_kept(kit_client: httpx.AsyncClient) -> None:
    answer = await kit_client.get("/v1/things/a", headers={"X-Request-Id": "client-42.a:b_c"})
    assert answer.headers["x-request-id"] == "client-42.a:b_c"


@pytest.mark.parametrize("given", ["", "with space", "x" * 129, 'quote"', "new\tline", "ünï"])
async def test_a_request_id_that_is_not_plain_is_replaced(kit_client: httpx.AsyncClient, given: str) -> None:
    answer = await kit_client.get("/v1/things/a", headers={b"X-Request-Id": given.encode("latin-1")})
    made = answer.headers["x-request-id"]
    assert made != given
    assert len(made) == 32


async def test_two_requests_have_two_ids(kit_client: httpx.AsyncClient) -> None:
    ids = {(await kit_client.get("/v1/things/a")).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


async def test_the_callers_trace_is_continued_in_the_log(
    kit_client: httpx.AsyncClient, kit_log: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "some-project")
    answer = await kit_client.get("/v1/things/a", headers={"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"})
    (line,) = kit_log()
    assert line["logging.googleapis.com/trace"] == f"projects/some-project/traces/{TRACE_ID}"
    assert line["logging.googleapis.com/trace_sampled"] is True
    assert line["logging.googleapis.com/spanId"] != PARENT_ID
    assert line["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"ff-{TRACE_ID}-{PARENT_ID}-01",
        f"00-{'0' * 32}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID.upper()}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{PARENT_ID}",
    ],
)
def test_a_trace_context_that_is_not_valid_starts_a_trace_of_our_own(header: str) -> None:
    trace = telemetry.begin(None, header)
    assert len(trace.trace_id) == 32
    assert TRACE_ID not in trace.trace_id
    assert trace.sampled is False


def test_what_we_call_gets_our_span_as_its_parent() -> None:
    trace = telemetry.begin(None, f"00-{TRACE_ID}-{PARENT_ID}-01")
    assert trace.traceparent == f"00-{TRACE_ID}-{trace.span_id}-01"
    assert telemetry.begin(None, trace.traceparent).trace_id == TRACE_ID


async def test_the_log_line_says_what_was_served_and_how_it_went(
    kit_client: httpx.AsyncClient, kit_log: LogLines
) -> None:
    await kit_client.get("/v1/things/unauthenticated")
    (line,) = kit_log()
    assert line["severity"] == "INFO"
    assert line["message"] == "request served"
    assert (line["function"], line["route"]) == ("kit-sample", "GET /v1/things/{thing}")
    assert (line["status"], line["code"]) == (401, "token_expired")
    assert line["duration_ms"] >= 0


async def test_an_answer_of_ours_that_fails_is_logged_as_an_error(
    kit_client: httpx.AsyncClient, kit_log: LogLines
) -> None:
    await kit_client.get("/v1/things/away")
    (line,) = kit_log()
    assert (line["severity"], line["status"]) == ("ERROR", 503)


async def test_nothing_that_was_sent_reaches_the_log(kit_client: httpx.AsyncClient, kit_log: LogLines) -> None:
    sent = {
        "path": "a-name-in-the-path",
        "query": "a-query",
        "body": "what-the-person-said",
        "token": "a-token",
        "key": "an-idempotency-key",
        "agent": "a-browser",
        "address": "198.51.100.77",
    }
    headers = {
        "Authorization": f"Bearer {sent['token']}",
        "Idempotency-Key": sent["key"],
        "User-Agent": sent["agent"],
        "X-Forwarded-For": sent["address"],
    }
    address = f"/v1/things/{sent['path']}?q={sent['query']}"
    await kit_client.post(address, json={"text": sent["body"]}, headers=headers)
    await kit_client.post(address, json={"text": sent["body"], "count": sent["body"]}, headers=headers)
    await kit_client.get("/v1/things/unforeseen", headers=headers)
    lines = kit_log()
    assert len(lines) == 4
    for line in lines:
        assert not [value for value in sent.values() if value in str(line)]


def test_an_exception_is_told_by_its_place_and_kind_and_never_in_its_own_words(kit_log: LogLines) -> None:
    words = "what the person said"

    def fail() -> None:
        try:
            int(words)
        except ValueError as error:
            failure = Unavailable(words, code="database_unavailable")
            failure.add_note("SQLSTATE 23514")
            raise failure from ExceptionGroup(words, [error, KeyError(words)])

    try:
        fail()
    except Unavailable:
        logs.logger().exception("something failed")
    (line,) = kit_log()
    told = line["exc_info"]
    assert words not in told
    assert "in fail" in told
    assert "shared.runtime.errors.Unavailable (database_unavailable)" in told
    for known in ("builtins.ValueError", "builtins.KeyError", "builtins.ExceptionGroup", "SQLSTATE 23514"):
        assert known in told


def test_the_severities_are_cloud_loggings(kit_log: LogLines) -> None:
    for method in (logs.logger().info, logs.logger().warning, logs.logger().error, logs.logger().critical):
        method("something happened")
    assert [line["severity"] for line in kit_log()] == ["INFO", "WARNING", "ERROR", "CRITICAL"]


def test_a_log_message_is_one_line_however_many_it_has(kit_log: LogLines) -> None:
    logs.logger().info("first\nsecond", extra={"detail": "a\r\nb"})
    (line,) = kit_log()
    assert (line["message"], line["detail"]) == ("first\nsecond", "a\r\nb")
