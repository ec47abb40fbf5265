"""Which room a function belongs to, and what the room says of itself."""

from __future__ import annotations

import ast
from pathlib import Path

from shared.http.declaration import Function


def room_of(function: Function) -> str:
    """The folder that holds the function's folder: `functions/<room>/<name>/main.py`."""
    return function.source.parts[-3]


def description(root: Path, room: str) -> str:
    """The first line of the room's own docstring."""
    source = root / "shared" / room / "__init__.py"
    if not source.exists():
        return ""
    return (ast.get_docstring(ast.parse(source.read_text())) or "").partition("\n")[0]
