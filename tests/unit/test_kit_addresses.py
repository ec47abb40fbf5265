"""The client's address is read where only our own proxies write."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.exchange import client_address
from shared.runtime.settings import load

PEER = "203.0.113.9"


def scope(*forwarded: str) -> dict[str, object]:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    return {"type": "http", "headers": headers, "client": (PEER, 4711)}


def test_without_a_proxy_it_is_the_peers() -> None:
    assert client_address(scope(), 1) == PEER
    assert client_address(scope("198.51.100.1"), 0) == PEER


@pytest.mark.parametrize(
    ("forwarded", "hops", "expected"),
    [
        ("198.51.100.1", 1, "198.51.100.1"),
        ("6.6.6.6, 198.51.100.1", 1, "198.51.100.1"),
        ("6.6.6.6, 198.51.100.1, 10.0.0.1", 2, "198.51.100.1"),
        (" 6.6.6.6 ,, 198.51.100.1 ", 1, "198.51.100.1"),
        ("198.51.100.1", 3, "198.51.100.1"),
        (",", 1, PEER),
    ],
)
def test_it_is_counted_from_the_right(forwarded: str, hops: int, expected: str) -> None:
    assert client_address(scope(forwarded), hops) == expected


def test_a_second_header_line_does_not_move_it() -> None:
    assert client_address(scope("6.6.6.6", "198.51.100.1"), 1) == "198.51.100.1"
    assert client_address(scope("6.6.6.6", "7.7.7.7, 198.51.100.1, 10.0.0.1"), 2) == "198.51.100.1"


FORGED = st.lists(st.text(st.characters(codec="latin-1", exclude_characters=","), max_size=20), max_size=5)


@given(FORGED, st.integers(1, 3))
def test_whatever_a_client_writes_ours_stays(forged: list[str], hops: int) -> None:
    ours = [f"10.0.0.{number}" for number in range(hops)]
    line = ", ".join([*forged, *ours]).encode("latin-1", "ignore").decode("latin-1")
    sent = {"type": "http", "headers": [(b"x-forwarded-for", line.encode("latin-1"))], "client": (PEER, 1)}
    assert client_address(sent, hops) == "10.0.0.0"


async def test_the_number_of_proxies_is_a_setting(
    kit_client: httpx.AsyncClient, kit_environment: pytest.MonkeyPatch
) -> None:
    kit_environment.setenv("TRUSTED_HOPS", "2")
    load.cache_clear()
    answer = await kit_client.get("/v1/things/a", headers={"X-Forwarded-For": "6.6.6.6, 198.51.100.1, 10.0.0.1"})
    assert answer.json()["address"] == "198.51.100.1"
