"""Every operation of the interface, every kind of caller, through the gateway and straight at the function."""

from __future__ import annotations

import pytest

from infra.catalogue.consistency import template
from infra.catalogue.interface import PATH, promises
from shared.http.discovery import ROOT
from tests.security.route_cases import ADVICE, CASES
from tests.security.route_matrix import WAYS, Operation, Town, operations, run

OPERATIONS = operations()


def test_every_operation_is_in_the_matrix() -> None:
    missing = [operation.route for operation in OPERATIONS if operation.case is None]
    assert not missing, f"Nothing proves who may call {', '.join(missing)}. {ADVICE}"


def test_the_matrix_names_no_operation_that_is_not_promised() -> None:
    promised = {f"{promise.method} {template(promise.path)}" for promise in promises((ROOT / PATH).read_text())}
    assert set(CASES) <= promised


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("operation", [found for found in OPERATIONS if found.case], ids=lambda found: found.route)
async def test_an_operation_serves_whom_it_must_and_changes_nothing_for_anybody_else(
    town: Town, operation: Operation, way: str
) -> None:
    cells = await run(town, operation, way)
    assert [str(cell) for cell in cells if not cell.held] == []
