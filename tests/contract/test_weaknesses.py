"""docs/weaknesses.md names tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from shared.http.discovery import ROOT

PAGE = ROOT / "docs" / "weaknesses.md"
_ROW = re.compile(r"^\| (?P<weakness>[^|]+) \| (?P<where>[^|]+) \| (?P<tests>[^|]+) \|$")
_TEST = re.compile(r"`(?P<path>tests/[\w/]+\.py)::(?P<name>test_\w+)`")


def rows() -> list[re.Match[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    found = [_ROW.match(line) for line in lines if not line.startswith(("| weakness |", "|---"))]
    assert all(found), "a row cannot be read"
    return [match for match in found if match is not None]


def held_by(path: Path) -> set[str]:
    """The tests that a file holds for pytest: functions of its own, whatever decorates them."""
    nodes = ast.parse(path.read_text()).body
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_weakness_names_a_test() -> None:
    assert len(rows()) > 20
    for row in rows():
        named = _TEST.sub("", row["tests"]).strip(" ,")
        assert _TEST.search(row["tests"]), row["weakness"]
        assert not named, f"{row['weakness']}: {named} is no test"


@pytest.mark.parametrize(
    ("path", "name"),
    sorted({(found["path"], found["name"]) for row in rows() for found in _TEST.finditer(row["tests"])}),
)
def test_every_named_test_is_there(path: str, name: str) -> None:
    assert (ROOT / path).exists(), f"there is no {path}"
    assert name in held_by(ROOT / path), f"{path} has no {name}"
