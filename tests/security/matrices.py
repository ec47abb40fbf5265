"""`python -m tests.security.matrices [tables] [routes]`: who gets what, tried just now, as tables.

Exit status 1 when something is otherwise than it must be; such a cell is marked, and told in full below.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Callable, Mapping, Sequence

from tests.security import route_matrix, table_matrix
from tests.security.route_cases import ADVICE as ROUTE_ADVICE
from tests.security.table_makers import ADVICE, TABLES
from tests.support.database import throwaway_database
from tests.support.stack import UNLIMITED, Stack, stack_folder

_PARTS: dict[str, Callable[[], list[str]]] = {}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.security.matrices", description=__doc__)
    parser.add_argument("part", nargs="*", metavar="part", help=f"of {', '.join(_PARTS)}; all by default")
    chosen = parser.parse_args(arguments).part or list(_PARTS)
    if unknown := [name for name in chosen if name not in _PARTS]:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(_PARTS)}")
    logging.getLogger("oprina").setLevel(logging.CRITICAL)
    wrong = [sentence for name in chosen for sentence in _PARTS[name]()]
    print("\n" + ("\n".join(wrong) or "Everything is as it must be."))
    return 1 if wrong else 0


def _part(run: Callable[[], list[str]]) -> Callable[[], list[str]]:
    _PARTS[run.__name__.strip("_")] = run
    return run


@_part
def _tables() -> list[str]:
    """Tables and SQL functions, through the real PostgREST."""
    with throwaway_database() as db:
        cast = table_matrix.Cast(db)
        missing = sorted(table_matrix.catalogued(db) - set(TABLES))
        cells = [
            cell
            for table in TABLES
            for caller in table_matrix.CALLERS
            for cell in table_matrix.run(cast, table, caller)
        ]
        calls = [cell for caller in table_matrix.CALLERS for cell in table_matrix.run_functions(cast, caller)]
    for with_key in (True, False):
        key = f"{'with' if with_key else 'without'} the backend's key"
        of_key = [cell for cell in cells if cell.with_key == with_key]
        _say(f"Reading one's columns of a table, {key}")
        _table_grid([cell for cell in of_key if cell.attempt == "select"])
        _say(f"Anything else with a table ({', '.join(table_matrix.ATTEMPTS[1:])}), {key}")
        _table_grid([cell for cell in of_key if cell.attempt != "select"])
        _say(f"Calling a SQL function that is not for the caller, {key}")
        _table_grid([cell for cell in calls if cell.with_key == with_key])
    wrong = [str(cell) for cell in [*cells, *calls] if not cell.held]
    return wrong + [f"{table}: nothing was tried, for want of a maker. {ADVICE}" for table in missing]


def _table_grid(cells: Sequence[table_matrix.Cell]) -> None:
    found: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        found.setdefault((cell.subject, cell.caller), []).append(_mark(cell.found, held=cell.held))
    subjects = list(dict.fromkeys(cell.subject for cell in cells))
    rows = {
        subject: ["/".join(dict.fromkeys(found.get((subject, caller), ["-"]))) for caller in table_matrix.CALLERS]
        for subject in subjects
    }
    _grid(table_matrix.CALLERS, rows)


@_part
def _routes() -> list[str]:
    """Operations, through the gateway and straight at the function."""
    columns = (*route_matrix.CALLERS, route_matrix.CHANGED)
    with stack_folder() as folder, Stack(folder, environment=UNLIMITED) as stack:
        every = asyncio.run(_all_routes(stack))
    for way in route_matrix.WAYS:
        _say(f"Operations, at the {way}")
        for number, name in enumerate(columns, 1):
            print(f"  {number:>2} {name}")
        rows = {route: _statuses(cells, columns) for (route, at), cells in every.items() if at == way}
        _grid([str(number) for number in range(1, len(columns) + 1)], rows)
    wrong = [str(cell) for cells in every.values() for cell in cells if not cell.held]
    missing = [operation.route for operation in route_matrix.operations() if operation.case is None]
    return wrong + [f"{route}: nothing was tried, for want of a case. {ROUTE_ADVICE}" for route in missing]


async def _all_routes(stack: Stack) -> dict[tuple[str, str], list[route_matrix.Cell]]:
    async with route_matrix.town_of(stack) as town:
        return {
            (operation.route, way): await route_matrix.run(town, operation, way) if operation.case else []
            for operation in route_matrix.operations()
            for way in route_matrix.WAYS
        }


def _statuses(cells: Sequence[route_matrix.Cell], columns: Sequence[str]) -> list[str]:
    """The status alone: which code comes with it is said of a cell that is otherwise than it must be."""
    found = {cell.caller: _mark(cell.found.partition(" ")[0], held=cell.held) for cell in cells}
    return [found.get(column, "-") for column in columns]


def _mark(word: str, *, held: bool) -> str:
    return word if held else f"!! {word}"


def _say(title: str) -> None:
    print(f"\n{title}\n{'=' * len(title)}")


def _grid(heads: Sequence[str], rows: Mapping[str, Sequence[str]]) -> None:
    lines = [["", *heads], *([name, *words] for name, words in rows.items())]
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    for line in lines:
        print("  " + "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
