"""docs/endpoints.md: every operation that is there, in a table for each room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from infra.catalogue.rooms import description, room_of
from shared.http.declaration import KIB, MIB, Function, Operation

_HEAD = """# Endpoints

Written by `python -m infra.catalogue` from the functions' declarations; a change here is overwritten.

*Key* says whether an `Idempotency-Key` header is accepted or required. *Limit* is each signed-in person's, or each
address' where nobody is signed in: requests a minute, and how many of them at once. *Body* is the largest request body.
"""

_COLUMNS = "| route | who | key | streams | limit | body | what |\n|---|---|---|---|---|---|---|\n"
_BODYLESS = {"GET", "DELETE"}


def page(root: Path, functions: Sequence[Function]) -> str:
    rooms = sorted({room_of(function) for function in functions})
    return _HEAD + "".join(_section(root, room, [f for f in functions if room_of(f) == room]) for room in rooms)


def _section(root: Path, room: str, functions: Sequence[Function]) -> str:
    rows = "".join(row for function in functions for row in _rows(function))
    said = description(root, room)
    return f"\n## {room}\n\n" + (f"{said}\n\n" if said else "") + _COLUMNS + rows


def _rows(function: Function) -> Iterator[str]:
    for operation in function.operations:
        cells = (
            f"`{operation.route}`",
            operation.caller.value,
            "-" if operation.idempotency == "none" else operation.idempotency,
            "yes" if operation.streams else "-",
            _limit(operation),
            "-" if operation.method in _BODYLESS else _size(operation.max_body_bytes),
            operation.summary.replace("|", "\\|"),
        )
        yield "| " + " | ".join(cells) + " |\n"


def _limit(operation: Operation) -> str:
    rate = operation.rate
    return f"{rate.per_minute}/min, {rate.burst} at once" if rate else "-"


def _size(count: int) -> str:
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if count % unit == 0:
            return f"{count // unit} {name}"
    return f"{count} B"
