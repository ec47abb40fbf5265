"""The build's description is one that Cloud Build takes, and nothing is changed by a build of a proposal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner

from shared.http.discovery import ROOT

FILE = ROOT / "cloudbuild.yaml"
CHANGES_SOMETHING = {"migrate", "apply"}


@pytest.fixture(scope="module")
def build() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return document


def fits_the_schema(path: Path) -> bool:
    return CliRunner().invoke(check_jsonschema, ["--builtin-schema", "vendor.cloudbuild", str(path)]).exit_code == 0


def test_the_build_fits_cloud_builds_schema() -> None:
    assert fits_the_schema(FILE)


def test_a_wrong_build_would_be_noticed(build: dict[str, Any], tmp_path: Path) -> None:
    broken = tmp_path / "cloudbuild.yaml"
    broken.write_text(yaml.safe_dump({**build, "steps": [{"name": "python:3.11", "scripts": "true"}]}))
    assert not fits_the_schema(broken)


def test_the_database_goes_before_the_functions_and_both_after_the_tests(build: dict[str, Any]) -> None:
    order = [step["id"] for step in build["steps"]]
    assert order == ["check", "test", "package", "plan", "migrate", "apply", "smoke"]


def test_a_proposal_changes_nothing(build: dict[str, Any]) -> None:
    assert build["substitutions"]["_APPLY"] == "false"
    for step in build["steps"]:
        asks = 'if [ "$APPLY" != true ]; then' in step["script"]
        assert asks == (step["id"] in CHANGES_SOMETHING | {"smoke"}), step["id"]
        assert asks == ("APPLY=${_APPLY}" in step.get("env", [])), step["id"]


def test_every_step_stops_at_its_first_failure(build: dict[str, Any]) -> None:
    for step in build["steps"]:
        assert any(line.strip() in {"set -eu", "set -euo pipefail"} for line in step["script"].splitlines()), step["id"]
