"""JSON that says more than one thing, or more than it may: refused by every operation, and nothing is changed by it."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.http.declaration import Caller
from tests.security.route_matrix import Cast, Operation, Town, operations

TAKING_JSON = [operation for operation in operations() if operation.case and operation.case.body]
ONE_FOR_PEOPLE = next(operation for operation in TAKING_JSON if operation.route == "PATCH /v1/users/me")

AMBIGUOUS = {
    "a name twice": b'{"full_name": "Ada", "full_name": "Mallory"}',
    "a name twice, written differently": b'{"full_name": "Ada", "full\\u005fname": "Mallory"}',
    "a name twice, further in": b'{"preferences": {"theme": {"a": 1, "a": 2}}}',
    "not a number": b'{"preferences": {"a": NaN}}',
    "infinity": b'{"preferences": {"a": -Infinity}}',
    "a number beyond all numbers": b'{"preferences": {"a": 1e999}}',
    "a number of 5000 digits": b'{"preferences": {"a": ' + b"9" * 5000 + b"}}",
    "10,000 arrays in each other": b'{"preferences": {"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}}",
    "objects in each other": b'{"a": ' * 3000 + b"1" + b"}" * 3000,
    "UTF-16": json.dumps({"full_name": "Mallory"}).encode("utf-16"),
    "UTF-16 without a mark": json.dumps({"full_name": "Mallory"}).encode("utf-16-le"),
    "a byte order mark": b'\xef\xbb\xbf{"full_name": "Mallory"}',
    "bytes that are no UTF-8": b'{"full_name": "\xff"}',
    "a slash in two bytes": b'{"full_name": "\xc0\xaf"}',
    "a raw NUL": b'{"full_name": "a\0b"}',
    "something after the end": b'{"full_name": "Mallory"} {}',
    "a comment": b'{/**/"full_name": "Mallory"}',
}
# What the database, the interface or a JavaScript client keeps for itself.
RESERVED: dict[str, Any] = {
    "is_admin": True,
    "id": str(uuid4()),
    "user_id": str(uuid4()),
    "person_id": str(uuid4()),
    "role": "service_role",
    "status": "active",
    "email_verified_at": "2020-01-01T00:00:00Z",
    "password_hash": "x",
    "created_at": "2020-01-01T00:00:00Z",
    "__proto__": {"is_admin": True},
    "constructor": {"prototype": {"is_admin": True}},
}


def assert_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def sent(town: Town, operation: Operation, cast: Cast, content: bytes) -> httpx.Response:
    return await town.send_content(operation, "function", cast, "owner", content, "application/json")


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_json_that_readers_may_read_differently_changes_nothing(town: Town, name: str) -> None:
    cast = Cast(town.db, ONE_FOR_PEOPLE)
    before = cast.belongings()
    assert_problem(await sent(town, ONE_FOR_PEOPLE, cast, AMBIGUOUS[name]), 400, "json_invalid")
    assert cast.belongings() == before


@pytest.mark.parametrize("operation", TAKING_JSON, ids=lambda operation: operation.route)
async def test_every_operation_refuses_a_name_that_comes_twice(town: Town, operation: Operation) -> None:
    assert operation.case is not None
    assert operation.case.body is not None
    written = json.dumps(operation.case.body())
    name = json.dumps(next(iter(json.loads(written))))
    twice = written[:-1] + f", {name}: {json.dumps('another')}}}"
    assert_problem(await sent(town, operation, Cast(town.db, operation), twice.encode()), 400, "json_invalid")


@pytest.mark.parametrize("operation", TAKING_JSON, ids=lambda operation: operation.route)
async def test_no_operation_takes_a_field_that_is_not_the_callers_to_set(town: Town, operation: Operation) -> None:
    assert operation.case is not None
    assert operation.case.body is not None
    body = operation.case.body()
    extra = {name: value for name, value in RESERVED.items() if name not in body}
    cast = Cast(town.db, operation)
    before = cast.belongings() if operation.caller is Caller.PERSON else None
    answer = await sent(town, operation, cast, json.dumps(body | extra).encode())
    assert_problem(answer, 422, "validation_failed")
    assert {error["field"] for error in answer.json()["errors"]} == set(extra)
    if before is not None:
        # The call counts against the caller's own limit, and a key keeps its refusal; nothing else has happened.
        kept = {
            "rate_limits",
            "request_tallies",
            *(("idempotency_keys", "turns", "sessions") if operation.keyed else ()),
        }
        after = cast.belongings()
        assert {name for name in before if before[name] != after[name]} <= kept


async def test_an_answer_about_thousands_of_wrong_fields_stays_small(town: Town) -> None:
    many = json.dumps({f"field{number}": 0 for number in range(2000)}).encode()
    answer = await sent(town, ONE_FOR_PEOPLE, Cast(town.db, ONE_FOR_PEOPLE), many)
    assert_problem(answer, 422, "validation_failed")
    assert len(answer.content) < 8_000
    long = json.dumps({"x" * 30_000: 0}).encode()
    answer = await sent(town, ONE_FOR_PEOPLE, Cast(town.db, ONE_FOR_PEOPLE), long)
    assert_problem(answer, 422, "validation_failed")
    assert len(answer.content) < 2_000
