"""The parts of the dependency rule that import-linter cannot say; .importlinter holds the others."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.http.discovery import ROOT

SHARED = sorted((ROOT / "shared").rglob("*.py"))
FUNCTIONS = sorted((ROOT / "functions").rglob("*.py"))
RULES = sorted(path for path in SHARED if path.stem == "rules" or path.stem.endswith("_rules"))
BESIDE_ROOMS = {"clients", "http", "runtime"}

# Parts of the standard library that read a clock, draw lots, or reach outside the process.
IMPURE = {
    "asyncio", "http", "io", "multiprocessing", "os", "pathlib", "random", "secrets", "shutil", "smtplib", "socket",
    "ssl", "subprocess", "tempfile", "threading", "time", "uuid",
}  # fmt: skip
READS_A_CLOCK = {"now", "utcnow", "today", "fromtimestamp"}
HEAVY = ("agentplatform", "google.adk", "google.cloud.aiplatform", "google.genai", "supabase", "vertexai")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    """Every name that a source imports, absolute and dotted: `from a import b` is `a.b`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)} imports relatively, which a function's source cannot"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_models(module: str) -> bool:
    parts = module.split(".")
    return parts[0] == "shared" and len(parts) > 2 and parts[1] not in BESIDE_ROOMS and parts[2].endswith("models")


def is_rules(module: str, room: str) -> bool:
    parts = module.split(".")
    return parts[:2] == ["shared", room] and len(parts) > 2 and parts[2].endswith("rules")


@pytest.mark.parametrize("path", RULES, ids=name)
def test_rules_stand_on_the_standard_library_and_models_alone(path: Path) -> None:
    room = path.parent.name
    foreign = [
        module
        for module in imported(path)
        if module.partition(".")[0] not in sys.stdlib_module_names | {"pydantic"}
        and not is_models(module)
        and not is_rules(module, room)
    ]
    assert foreign == []


@pytest.mark.parametrize("path", RULES, ids=name)
def test_rules_read_no_clock_draw_no_lots_and_reach_nothing_outside(path: Path) -> None:
    assert [module for module in imported(path) if module.partition(".")[0] in IMPURE] == []
    nodes = list(ast.walk(ast.parse(path.read_text())))
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    methods = {call.attr for call in called if isinstance(call, ast.Attribute)}
    names = {call.id for call in called if isinstance(call, ast.Name)}
    assert READS_A_CLOCK.isdisjoint(methods)
    assert {"open", "print", "input"}.isdisjoint(names)
    assert not [node for node in nodes if isinstance(node, (ast.AsyncFunctionDef, ast.Global))]


def takes_wrongly(module: str, room: str) -> bool:
    """Whether a function of `room` may not import `module` (a dotted name with what is taken from it at its end)."""
    parts = module.split(".")
    if parts[0] != "shared":
        return parts[0] in {"agent", "bench", "functions", "infra", "local", "tests"}
    if parts[1] in {"http", "runtime"}:
        return False
    if parts[1] == "clients":
        return not parts[-1].endswith("Settings")
    if any(part.endswith("store") for part in parts[2:3]):
        return True
    if parts[1] == room:
        return False
    return parts[2] not in {"service", "models", "rules"}


@pytest.mark.parametrize("path", FUNCTIONS, ids=name)
def test_a_function_takes_services_models_and_the_kit_and_of_clients_only_their_settings(path: Path) -> None:
    room = path.parts[-3]
    assert [module for module in imported(path) if takes_wrongly(module, room)] == []


@pytest.mark.parametrize("path", FUNCTIONS, ids=name)
def test_a_function_is_short(path: Path) -> None:
    assert path.name == "main.py", "a function is one file; what it shares is in shared"
    assert len(path.read_text().splitlines()) <= 200


@pytest.mark.parametrize("path", SHARED + FUNCTIONS, ids=name)
def test_nothing_that_serves_requests_imports_what_is_too_heavy_for_it(path: Path) -> None:
    assert [module for module in imported(path) if (module + ".").startswith(tuple(each + "." for each in HEAVY))] == []


@pytest.mark.parametrize("path", [p for p in SHARED if p.parent.name not in BESIDE_ROOMS | {"shared"}], ids=name)
def test_a_room_speaks_to_the_outside_through_clients_only(path: Path) -> None:
    wires = (
        "boto3",
        "google",
        "grpc",
        "httpx",
        "postgrest",
        "psycopg",
        "requests",
        "smtplib",
        "socket",
        "urllib.request",
    )
    assert [module for module in imported(path) if (module + ".").startswith(tuple(each + "." for each in wires))] == []


@pytest.mark.parametrize("path", [path for path in SHARED if path.name != "settings.py"], ids=name)
def test_the_environment_is_read_through_settings_only(path: Path) -> None:
    if name(path) == "shared/runtime/logs.py":
        pytest.skip("logs are set up before settings can be read, so that a refusal to start is logged too")
    assert [module for module in imported(path) if module in {"os", "os.environ", "os.getenv"}] == []
