"""Browsers may read answers only from origins on the list."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support import kit

OURS, THEIRS = "https://app.oprina.test", "https://evil.test"


@pytest.fixture
async def listed(kit_environment: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    kit_environment.setenv("ALLOWED_ORIGINS", f"{OURS}, https://admin.oprina.test")
    async with kit.client(kit.sample()) as client:
        yield client


def preflight(origin: str, method: str = "POST", headers: str = "authorization,idempotency-key") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


async def test_a_listed_origin_may_ask_and_read(listed: httpx.AsyncClient) -> None:
    asked = await listed.options("/v1/things/a", headers=preflight(OURS))
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == OURS
    read = await listed.get("/v1/things/a", headers={"Origin": OURS})
    assert read.headers["access-control-allow-origin"] == OURS
    exposed = read.headers["access-control-expose-headers"]
    assert {"X-Request-Id", "Idempotency-Replayed", "RateLimit", "Retry-After"} <= set(exposed.split(", "))


async def test_a_listed_origin_may_read_problems_too(listed: httpx.AsyncClient) -> None:
    for thing in ("unauthenticated", "unforeseen"):
        answer = await listed.get(f"/v1/things/{thing}", headers={"Origin": OURS})
        assert answer.headers["access-control-allow-origin"] == OURS


@pytest.mark.parametrize("origin", [THEIRS, "null", "https://app.oprina.test.evil.test", "http://app.oprina.test"])
async def test_any_other_origin_may_neither_ask_nor_read(listed: httpx.AsyncClient, origin: str) -> None:
    assert (await listed.options("/v1/things/a", headers=preflight(origin))).status_code == 400
    read = await listed.get("/v1/things/a", headers={"Origin": origin})
    assert "access-control-allow-origin" not in read.headers


async def test_a_method_that_is_not_declared_is_not_offered(listed: httpx.AsyncClient) -> None:
    assert (await listed.options("/v1/things/a", headers=preflight(OURS, "DELETE"))).status_code == 400


async def test_no_origin_may_send_cookies(listed: httpx.AsyncClient) -> None:
    asked = await listed.options("/v1/things/a", headers=preflight(OURS))
    assert "access-control-allow-credentials" not in asked.headers


async def test_without_a_list_no_origin_is_allowed(kit_client: httpx.AsyncClient) -> None:
    read = await kit_client.get("/v1/things/a", headers={"Origin": OURS})
    assert "access-control-allow-origin" not in read.headers
