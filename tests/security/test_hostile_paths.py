"""Paths that are written otherwise than they are declared: they lead to what they name, or nowhere."""

from __future__ import annotations

import json

import pytest

from tests.security.route_matrix import Cast, Town, operations
from tests.support import kit
from tests.support.backend import functions

ME = next(operation for operation in operations() if operation.route == "GET /v1/users/me")
ELSEWHERE = {"next", "url", "redirect", "redirect_uri", "return_to", "continue", "callback"}

STRANGE = [
    "/v1/users/me/", "/v1//users/me", "//v1/users/me", "/v1/users/./me", "/v1/sessions/../users/me",
    "/v1/sessions/%2e%2e/users/me", "/v1/%2e%2e/v1/users/me", "/v1/users/me%00", "/v1/users/me%0a", "/v1/users/me%20",
    "/v1/users/me;x=1", "/v1/users/me/..;/me", "/V1/users/me", "/v1/users/ME", "/v1/users/me\\", "/v1/users/me%5c",
    "/v1/users/me.json", "/v1/users/%252e%252e/users/me", "/v1/users/me%2f", "/v1/users%252fme",
    "/.well-known/../v1/users/me", "/.well-known/%2e%2e/v1/users/me",
]  # fmt: skip
ESCAPING = [
    "/v1/../local/faults", "/v1/%2e%2e/local/faults", "/v1/..%2flocal/faults", "/.well-known/../local/faults",
    "/v1/sessions/../../local/faults", "/tasks/../local/faults", "/v1/../../etc/passwd",
    "/v1/%2e%2e%2f%2e%2e%2fetc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("path", STRANGE)
async def test_a_path_that_is_not_declared_leads_nowhere_whoever_asks(town: Town, path: str) -> None:
    for caller in ("owner", "anonymous"):
        cast = Cast(town.db, ME)
        answer = await town.gateway.get("/", headers=cast.headers(caller), extensions={"target": path.encode()})
        assert answer.status_code in {401, 404}, answer.text
        assert cast.owner.email not in answer.text
        assert "location" not in answer.headers


@pytest.mark.parametrize("path", ESCAPING)
async def test_no_path_of_the_interface_climbs_out_of_it(town: Town, path: str) -> None:
    answer = await town.gateway.get("/", extensions={"target": path.encode()})
    assert answer.status_code == 404, answer.text


@pytest.mark.parametrize("path", ["/v1/users%2fme", "/v1/users/%6de", "/v1/%75sers/me"])
async def test_a_path_in_escapes_is_as_locked_as_the_one_it_stands_for(town: Town, path: str) -> None:
    cast = Cast(town.db, ME)
    for caller, status in (("anonymous", 401), ("expired", 401), ("alg none", 401), ("suspended", 401)):
        answer = await town.gateway.get("/", headers=cast.headers(caller), extensions={"target": path.encode()})
        assert answer.status_code == status, (caller, answer.text)


async def test_a_function_serves_its_own_path_and_sends_nobody_elsewhere(town: Town) -> None:
    headers = [("host", "evil.test"), ("x-forwarded-host", "evil.test"), ("x-forwarded-proto", "https")]
    for function in functions():
        for operation in function.operations:
            path = operation.path.replace("{session_id}", "x").replace("{turn_id}", "x")
            for strange in (path + "/", "/" + path, path + "//", path.upper(), path + "\n"):
                spoken = await kit.speak(function.asgi, operation.method, strange, headers=headers)
                assert spoken.status == 404, (operation.route, strange)
                assert spoken.document["code"] == "not_found"
                assert b"location" not in dict(spoken.sent[0]["headers"])


async def test_no_operation_sends_the_browser_to_an_address_that_the_caller_chose(town: Town) -> None:
    chosen = dict.fromkeys(ELSEWHERE, "https://evil.test/")
    for operation in operations():
        cast = Cast(town.db, operation)
        places = iter(cast.place("owner"))
        address = "/".join(next(places, "x") if part.startswith("{") else part for part in operation.path.split("/"))
        answer = await town.functions.request(
            operation.method, address, params=chosen, headers=cast.headers("anonymous"), follow_redirects=False
        )
        assert "evil.test" not in answer.headers.get("location", ""), operation.route
        assert "evil.test" not in json.dumps(dict(answer.headers)), operation.route
