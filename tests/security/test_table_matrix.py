"""Every table, every kind of caller: nobody reaches by Supabase's address what the product does not give out."""

from __future__ import annotations

import pytest

from tests.security.table_makers import ADVICE, TABLES
from tests.security.table_matrix import ATTEMPTS, CALLERS, Cast, Cell, catalogued, expected, run, run_functions
from tests.support.database import Database


@pytest.fixture(scope="module")
def cast(db: Database) -> Cast:
    return Cast(db)


def surprises(cells: list[Cell]) -> list[str]:
    assert cells, "nothing was tried"
    return [str(cell) for cell in cells if not cell.held]


def test_every_table_is_in_the_matrix(db: Database) -> None:
    unknown = sorted(catalogued(db) - set(TABLES))
    assert not unknown, f"Nothing proves that nobody reaches {', '.join(unknown)}. {ADVICE}"
    assert set(TABLES) <= catalogued(db), "The matrix names a table that is not there."


def test_only_a_rows_owner_is_ever_expected_to_read_it() -> None:
    allowed = {
        (table, caller, attempt, with_key)
        for table in TABLES
        for caller in CALLERS
        for attempt in ATTEMPTS
        for with_key in (False, True)
        if expected(table, caller, attempt, with_key=with_key) == "the row"
    }
    readable = {table for table, spec in TABLES.items() if spec.readable}
    assert allowed == {(table, "owner", "select", True) for table in readable}


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("table", TABLES)
def test_a_table_gives_out_what_it_must_and_changes_for_nobody(cast: Cast, table: str, caller: str) -> None:
    before = cast.content(table, caller)
    assert len(before) == 1, f"the maker of {table} made no row that {TABLES[table].key} tells apart"
    assert surprises(list(run(cast, table, caller))) == []
    assert cast.content(table, caller) == before


@pytest.mark.parametrize("caller", CALLERS)
def test_nobody_calls_a_sql_function_that_is_not_for_them(cast: Cast, caller: str) -> None:
    assert surprises(list(run_functions(cast, caller))) == []
