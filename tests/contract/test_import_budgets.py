"""A function loads no more than it uses: counts of modules are deterministic, and most of a cold start follows them."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.http.declaration import Function
from shared.http.discovery import ROOT, discover
from tests.support.functions import environment, functions_bin, label, sources

DATABASE_ONLY, WITH_GRPC = 750, 1_200
# Reading one of these settings means speaking gRPC to Google.
SPEAKS_GRPC = {"speech_endpoint", "texttospeech_endpoint"}
SOURCES = sources()

# Loads a source as the platform does, then tells which modules there are.
PROBE = """
import json, sys
import functions_framework.aio
functions_framework.aio.create_asgi_app("main", sys.argv[1])
print(json.dumps(sorted(sys.modules)))
"""


@dataclass(frozen=True)
class Loaded:
    modules: frozenset[str]

    def holds(self, package: str) -> bool:
        return any(name == package or name.startswith(package + ".") for name in self.modules)

    def by_package(self) -> str:
        counted = Counter(name.partition(".")[0] for name in self.modules)
        return ", ".join(f"{package} {count}" for package, count in counted.most_common(12))


@pytest.fixture(scope="module")
def declared() -> dict[Path, Function]:
    return {function.source: function for function in discover()}


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(tmp_path_factory.mktemp("nobody"))


@pytest.fixture(scope="module", autouse=True)
def table(request: pytest.FixtureRequest) -> Iterator[None]:
    """Shows what was counted at the end."""
    yield
    capture = request.config.pluginmanager.getplugin("capturemanager")
    terminal = request.config.get_terminal_writer()
    with capture.global_and_fixture_disabled():
        terminal.line()
        for source, loaded in sorted(COUNTED.items()):
            speaks = "with grpc" if loaded.holds("grpc") else ""
            terminal.line(f"{len(loaded.modules):5} modules  {label(source):32} {speaks}".rstrip())


COUNTED: dict[Path, Loaded] = {}


def loaded_by(source: Path, variables: dict[str, str]) -> Loaded:
    if source not in COUNTED:
        done = subprocess.run(
            [functions_bin() / "python", "-c", PROBE, str(source)],
            cwd=ROOT,
            env={"PYTHONPATH": ".", **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        COUNTED[source] = Loaded(frozenset(json.loads(done.stdout)))
    return COUNTED[source]


def speaks_grpc(function: Function) -> bool:
    return any(SPEAKS_GRPC & kind.model_fields.keys() for kind in function.required_settings)


@pytest.mark.parametrize("source", SOURCES, ids=label)
def test_a_function_stays_within_its_budget(
    source: Path, declared: dict[Path, Function], variables: dict[str, str]
) -> None:
    loaded = loaded_by(source, variables)
    budget = WITH_GRPC if speaks_grpc(declared[source]) else DATABASE_ONLY
    assert len(loaded.modules) <= budget, loaded.by_package()


@pytest.mark.parametrize("source", SOURCES, ids=label)
def test_only_a_function_that_speaks_grpc_loads_it(
    source: Path, declared: dict[Path, Function], variables: dict[str, str]
) -> None:
    assert loaded_by(source, variables).holds("grpc") == speaks_grpc(declared[source])


@pytest.mark.parametrize("source", SOURCES, ids=label)
def test_no_function_loads_a_heavy_library_that_it_never_uses(source: Path, variables: dict[str, str]) -> None:
    loaded = loaded_by(source, variables)
    agents = ("google.cloud.aiplatform", "google.genai", "vertexai", "agentplatform", "google.adk")
    assert [package for package in (*agents, "supabase", "pydantic.v1") if loaded.holds(package)] == []


@pytest.mark.parametrize("source", SOURCES, ids=label)
def test_no_function_loads_what_runs_beside_it(source: Path, variables: dict[str, str]) -> None:
    loaded = loaded_by(source, variables)
    assert [package for package in ("agent", "bench", "infra", "local", "tests") if loaded.holds(package)] == []
