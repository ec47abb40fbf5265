"""Cursors come back as they went out, and those that are not ours are refused."""

from __future__ import annotations

import contextlib
import re

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.paging import decode_cursor, encode_cursor
from shared.runtime.errors import BadRequest

POSITIONS = st.dictionaries(st.text(max_size=20), st.none() | st.booleans() | st.integers() | st.text(max_size=40))


@given(POSITIONS)
def test_a_cursor_comes_back_as_it_went_out(position: dict[str, object]) -> None:
    cursor = encode_cursor(position)
    assert cursor is not None
    assert re.fullmatch(r"[A-Za-z0-9_-]*", cursor)
    assert decode_cursor(cursor) == position


def test_the_last_page_has_no_cursor() -> None:
    assert encode_cursor(None) is None


@given(st.text(max_size=512))
def test_any_other_text_is_a_position_or_refused(text: str) -> None:
    with contextlib.suppress(BadRequest):
        assert isinstance(decode_cursor(text), dict)


@pytest.mark.parametrize("cursor", ["xx", "bnVsbA", "WzFd", "é", "eyJhIjpOYU59", "%00", "W1tbW1tbW1tb" * 40])
async def test_a_cursor_of_somebody_elses_is_a_bad_request(kit_client: httpx.AsyncClient, cursor: str) -> None:
    answer = await kit_client.get("/v1/things/a", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "cursor_invalid")


@pytest.mark.parametrize(("limit", "status"), [("1", 200), ("100", 200), ("0", 422), ("101", 422), ("ten", 422)])
async def test_a_page_has_one_to_a_hundred_items(kit_client: httpx.AsyncClient, limit: str, status: int) -> None:
    assert (await kit_client.get("/v1/things/a", params={"limit": limit})).status_code == status
