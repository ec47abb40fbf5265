"""docs/dependencies.md lists exactly what is asked for, and each package is at work where the list says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.http.discovery import ROOT

_ROW = re.compile(r"^\| `(?P<package>[^`]+)` \| `(?P<place>[^`]+)` \| `(?P<seen_as>[^`]+)` \| (?P<why>.+) \|$")
_REQUIREMENT = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")

# What the product was asked to be built with: the module that shows the use, and where the product itself uses it.
ASKED_FOR = {
    "functions-framework": ("functions_framework", "shared"),
    "google-auth": ("google.auth", "shared"),
    "google-cloud-aiplatform": ("agentplatform", "agent"),
    "google-cloud-secret-manager": ("google.cloud.secretmanager_v1", "local"),
    "google-cloud-speech": ("google.cloud.speech_v2", "shared"),
    "google-cloud-texttospeech": ("google.cloud.texttospeech_v1", "shared"),
    "pydantic": ("pydantic", "shared"),
    "pyjwt": ("jwt", "shared"),
    "pytest": ("pytest", "tests"),
    "supabase": ("supabase", "tests"),
}


@dataclass(frozen=True)
class Row:
    package: str
    place: str
    seen_as: str
    why: str


def rows() -> list[Row]:
    lines = (ROOT / "docs/dependencies.md").read_text().splitlines()
    return [Row(**match.groupdict()) for line in lines if (match := _ROW.match(line))]


def required(file: str) -> set[str]:
    lines = (ROOT / file).read_text().splitlines()
    return {match.group() for line in lines if (match := _REQUIREMENT.match(line))}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(path: Path, module: str) -> bool:
    return any(name == module or name.startswith(module + ".") for name in imported(path))


def test_the_list_is_that_of_the_requirements() -> None:
    listed = [row.package for row in rows()]
    assert len(listed) == len(set(listed))
    assert set(listed) == required("requirements.in") | required("local/requirements.in")


def test_every_line_of_the_tables_can_be_read() -> None:
    lines = (ROOT / "docs/dependencies.md").read_text().splitlines()
    assert len([line for line in lines if line.startswith("| `")]) == len(rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.package)
def test_a_package_is_at_work_where_the_list_says(row: Row) -> None:
    path = ROOT / row.place
    if path.suffix == ".py":
        assert imports(path, row.seen_as)
    else:
        assert re.search(rf"\b{re.escape(row.seen_as)}\b", path.read_text())


@pytest.mark.parametrize("package", ASKED_FOR)
def test_each_asked_for_package_has_its_real_place(package: str) -> None:
    module, folder = ASKED_FOR[package]
    assert package in {row.package for row in rows()}
    assert any(imports(path, module) for path in sorted((ROOT / folder).rglob("*.py")))
