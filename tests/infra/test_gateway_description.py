"""What API Gateway serves is what the functions declare, no more and no less."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.http.declaration import Caller, Function
from shared.http.discovery import ROOT, discover

# Google's projects have numbers of at most twelve digits; the first label of a host name has 63 characters at most.
LONGEST_NAME = 63 - len("-") - 12
METHODS = {"get", "post", "put", "patch", "delete", "options"}
QUEUE_OR_SCHEDULER = {Caller.QUEUE, Caller.SCHEDULER}


@pytest.fixture(scope="module")
def functions() -> list[Function]:
    return discover()


@pytest.fixture(scope="module")
def gateway() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / "infra/gateway.json").read_text())
    return document


@pytest.fixture(scope="module")
def interface() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / "infra/openapi.json").read_text())
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in METHODS & set(item):
            yield path, method, item[method]


def test_every_clients_route_has_a_function_a_gateway_path_and_an_operation(
    functions: list[Function], gateway: dict[str, Any], interface: dict[str, Any]
) -> None:
    declared = {
        (operation.path, operation.method.lower())
        for function in functions
        for operation in function.operations
        if operation.caller not in QUEUE_OR_SCHEDULER
    }
    served = {(path, method) for path, method, _ in operations(gateway) if method != "options"}
    described = {
        (path, method) for path, method, one in operations(interface) if one["x-caller"] not in QUEUE_OR_SCHEDULER
    }
    assert declared == served == described


def test_no_worker_and_no_schedule_is_behind_the_gateway(gateway: dict[str, Any]) -> None:
    assert not [path for path in gateway["paths"] if path.startswith(("/tasks/", "/schedules/"))]


def test_the_gateway_demands_a_token_exactly_where_a_person_is_asked_for(
    functions: list[Function], gateway: dict[str, Any]
) -> None:
    demanded = {(path, method) for path, method, one in operations(gateway) if one.get("security")}
    assert demanded == {
        (operation.path, operation.method.lower())
        for function in functions
        for operation in function.operations
        if operation.caller in {Caller.PERSON, Caller.ADMINISTRATOR}
    }


def test_browsers_may_ask_before_they_call_from_another_origin(gateway: dict[str, Any]) -> None:
    for path, item in gateway["paths"].items():
        assert "security" not in item["options"], path
        assert item["options"]["x-google-backend"] == next(
            one["x-google-backend"] for method, one in item.items() if method in METHODS - {"options"}
        )


def test_the_gateway_waits_as_long_as_the_function_may_take(functions: list[Function], gateway: dict[str, Any]) -> None:
    allowed = {function.path: function.timeout_seconds for function in functions}
    for path, _, one in operations(gateway):
        assert one["x-google-backend"]["deadline"] == allowed[path]


def test_every_placeholder_is_one_that_terraform_fills_in(functions: list[Function], gateway: dict[str, Any]) -> None:
    names = {function.name for function in functions}
    for _, _, one in operations(gateway):
        address = one["x-google-backend"]["address"]
        assert address.removeprefix("${address_of.").removesuffix("}") in names


def test_operation_ids_are_unique(gateway: dict[str, Any]) -> None:
    ids = [one["operationId"] for _, _, one in operations(gateway)]
    assert len(ids) == len(set(ids))


def test_every_functions_name_leaves_room_for_its_address(functions: list[Function]) -> None:
    assert {function.name for function in functions if len(function.name) > LONGEST_NAME} == set()


def test_several_requests_at_once_take_a_whole_processor(functions: list[Function]) -> None:
    assert {function.name for function in functions if function.concurrency > 1 and function.cpu < 1} == set()
