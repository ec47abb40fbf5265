"""Cursors are positions and nothing more: of one's own list, whoever made them and whatever was done to them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from shared.http.paging import encode_cursor
from tests.security.route_cases import said
from tests.security.route_matrix import Cast, Town, operations

LIST = next(operation for operation in operations() if operation.route == "GET /v1/sessions")

NOW = "2026-01-01T00:00:00+00:00"
SOMEBODY = "00000000-0000-7000-8000-000000000000"
TAMPERED: dict[str, Any] = {
    "nothing in it": {},
    "half of it": {"at": NOW},
    "more than it has": {"at": NOW, "id": SOMEBODY, "user_id": SOMEBODY},
    "SQL for a time": {"at": "now() - interval '1 day'", "id": SOMEBODY},
    "SQL for an id": {"at": NOW, "id": "' or true --"},
    "a time that never was": {"at": "2026-02-30T00:00:00Z", "id": SOMEBODY},
    "a time without a zone": {"at": "2026-01-01T00:00:00", "id": SOMEBODY},
    "a number beyond all numbers": {"at": 10**400, "id": SOMEBODY},
    "a list": [NOW, SOMEBODY],
    "a text": "x",
    "null": None,
}


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize("name", TAMPERED)
async def test_a_cursor_that_was_tampered_with_is_refused(town: Town, name: str) -> None:
    cast = Cast(town.db, LIST)
    cursor = encoded(TAMPERED[name])
    answer = await town.gateway.get("/v1/sessions", params={"cursor": cursor}, headers=cast.headers("owner"))
    expected = {(400, "cursor_invalid")} | ({(422, "validation_failed")} if len(cursor) > 512 else set())
    assert (answer.status_code, answer.json()["code"]) in expected, answer.text


@pytest.mark.parametrize("text", ["", "=", "====", "e30=", "[", "é", "..", "eyJhIjox", "\u0000", "x" * 512])
async def test_a_text_that_is_no_cursor_is_refused_or_begins_at_the_beginning(town: Town, text: str) -> None:
    cast = Cast(town.db, LIST)
    cast.owner.session("Mine")
    answer = await town.gateway.get("/v1/sessions", params={"cursor": text}, headers=cast.headers("owner"))
    if text == "":
        assert [item["title"] for item in answer.json()["items"]] == ["Mine"]
    else:
        assert (answer.status_code, answer.json()["code"]) == (400, "cursor_invalid"), answer.text


async def test_somebody_elses_cursor_is_a_position_in_ones_own_list(town: Town) -> None:
    cast = Cast(town.db, LIST)
    for title in ("One", "Two", "Three"):
        cast.owner.session(title)
    first = (await town.gateway.get("/v1/sessions", params={"limit": 1}, headers=cast.headers("owner"))).json()
    cast.other.session("Bob's")
    page = await town.gateway.get(
        "/v1/sessions", params={"cursor": first["next_cursor"]}, headers=cast.headers("other")
    )
    assert page.status_code == 200
    assert {item["title"] for item in page.json()["items"]} <= {"Bob's"}


async def test_a_cursor_of_another_list_is_refused(town: Town) -> None:
    cast = Cast(town.db, LIST)
    session, _ = said(cast.owner)
    cursor = encode_cursor({"position": 1})
    assert cursor is not None
    of_messages = f"/v1/sessions/{session}/messages"
    good = await town.functions.get(of_messages, params={"cursor": cursor}, headers=cast.headers("owner"))
    assert good.status_code == 200
    for path, foreign in (("/v1/sessions", cursor), (of_messages, encode_cursor({"at": NOW, "id": SOMEBODY}))):
        assert foreign is not None
        answer = await town.functions.get(path, params={"cursor": foreign}, headers=cast.headers("owner"))
        assert (answer.status_code, answer.json()["code"]) == (400, "cursor_invalid")


@pytest.mark.parametrize("position", [-1, 2**31, 2**63, 1.5, True, "1", None, [1]])
async def test_a_position_is_a_number_that_a_list_can_have(town: Town, position: Any) -> None:
    cast = Cast(town.db, LIST)
    session, _ = said(cast.owner)
    answer = await town.functions.get(
        f"/v1/sessions/{session}/messages",
        params={"cursor": encoded({"position": position})},
        headers=cast.headers("owner"),
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "cursor_invalid"), answer.text
