"""Text as people really write it comes back as it went in, and text that no database can hold is refused everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.security.route_matrix import Cast, Operation, Town, operations

TAKING_JSON = [operation for operation in operations() if operation.case and operation.case.body]
BY_ROUTE = {operation.route: operation for operation in TAKING_JSON}

KEPT = {
    "beyond the first plane": "Ada 👩🏽‍💻 𝔏𝔬𝔳𝔢𝔩𝔞𝔠𝔢",
    "right to left, with marks": "\u200fعدى\u200e בן-אור",
    "composed": "Ångström",
    "decomposed": "A\u030angstro\u0308m",
    "forty marks on each letter": "".join(letter + "\u0301\u0316\u0323\u0353" * 10 for letter in "Zalgo"),
    "quotes and angles": 'O\'Brien & <Sons> "Ltd" \\ %00 ${x} {{x}}',
    "SQL": "'; drop table public.users; --",
    "as long as it may be": "長" * 255,
}
UNSTORABLE = {"NUL": "a\\u0000b", "half a pair": "a\\ud800b", "halves in the wrong order": "\\udc00\\ud800"}


@pytest.mark.parametrize("name", KEPT)
async def test_a_name_comes_back_as_it_was_written(town: Town, name: str) -> None:
    operation = BY_ROUTE["PATCH /v1/users/me"]
    cast = Cast(town.db, operation)
    content = json.dumps({"full_name": KEPT[name]}).encode()
    answer = await town.send_content(operation, "gateway", cast, "owner", content, "application/json")
    assert answer.status_code == 200, answer.text
    assert answer.json()["full_name"] == KEPT[name]
    stored = town.db.rows("select full_name from public.users where id = %s", cast.owner.id)
    assert stored == [(KEPT[name],)]


async def test_two_ways_to_write_a_letter_stay_two(town: Town) -> None:
    cast = Cast(town.db, BY_ROUTE["PATCH /v1/users/me"])
    for title in (KEPT["composed"], KEPT["decomposed"]):
        cast.owner.session(title)
    page = await town.functions.get("/v1/sessions", params={"q": KEPT["composed"]}, headers=cast.headers("owner"))
    assert [item["title"] for item in page.json()["items"]] == [KEPT["composed"]]


async def test_a_search_is_for_what_it_says_and_no_pattern(town: Town) -> None:
    cast = Cast(town.db, BY_ROUTE["PATCH /v1/users/me"])
    for title in ("100 %", "1000", "a_b", "axb", "back\\slash"):
        cast.owner.session(title)
    for query, titles in (("%", ["100 %"]), ("_", ["a_b"]), ("\\", ["back\\slash"]), ("' or 1=1 --", [])):
        page = await town.functions.get("/v1/sessions", params={"q": query}, headers=cast.headers("owner"))
        assert [item["title"] for item in page.json()["items"]] == titles, query


def _places() -> Iterator[tuple[Operation, str]]:
    """Every text in the body of every operation."""
    for operation in TAKING_JSON:
        assert operation.case is not None
        assert operation.case.body is not None
        yield from ((operation, name) for name, value in operation.case.body().items() if isinstance(value, str))


@pytest.mark.parametrize("kind", UNSTORABLE)
@pytest.mark.parametrize(("operation", "name"), list(_places()), ids=lambda value: getattr(value, "route", value))
async def test_text_that_cannot_be_stored_is_refused_by_every_operation(
    town: Town, operation: Operation, name: str, kind: str
) -> None:
    assert operation.case is not None
    assert operation.case.body is not None
    body: dict[str, Any] = operation.case.body() | {name: "@@"}
    content = json.dumps(body).replace('"@@"', f'"{UNSTORABLE[kind]}"').encode()
    answer = await town.send_content(
        operation, "function", Cast(town.db, operation), "owner", content, "application/json"
    )
    # A password is only ever compared, so it may hold anything: the wrong one is wrong.
    wrong = {"password": 401, "current_password": 403}
    assert answer.status_code in {400, 422, wrong.get(name)}, answer.text


@pytest.mark.parametrize("query", ["q=%00", "q=%ed%a0%80", "q=%ff%fe", "cursor=%00", "limit=%00", "status=%00"])
async def test_a_query_that_is_no_text_is_refused_or_finds_nothing(town: Town, query: str) -> None:
    cast = Cast(town.db, BY_ROUTE["PATCH /v1/users/me"])
    cast.owner.session("Mine")
    answer = await town.gateway.get(f"/v1/sessions?{query}", headers=cast.headers("owner"))
    assert answer.status_code in {400, 422} or answer.json()["items"] == [], answer.text


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//elsewhere.test/x",
        "file:///etc/passwd",
        "https:",
        "ftp://elsewhere.test/x",
    ],
)
async def test_a_picture_is_at_an_address_of_the_web(town: Town, address: str) -> None:
    operation = BY_ROUTE["PATCH /v1/users/me"]
    content = json.dumps({"avatar_url": address}).encode()
    answer = await town.send_content(
        operation, "function", Cast(town.db, operation), "owner", content, "application/json"
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed"), answer.text
