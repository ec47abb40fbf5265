"""The Terraform configuration: its form, and, where the providers can be had, its schema and its own tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from infra.packaging.__main__ import write
from infra.packaging.archive import packages
from shared.http.discovery import ROOT, discover

TERRAFORM = shutil.which("terraform")
VARIABLE = re.compile(r'^variable "([a-z_]+)" \{', re.MULTILINE)
CONFIGURATION = [*ROOT.glob("*.tf"), *(ROOT / "infra" / "terraform").rglob("*.tf")]

needs_terraform = pytest.mark.skipif(TERRAFORM is None, reason="Terraform is not installed on this machine.")


def terraform(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert TERRAFORM is not None
    environment = {**os.environ, "TF_IN_AUTOMATION": "1", "TF_CLI_ARGS": "-no-color"}
    return subprocess.run(
        [TERRAFORM, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the configuration with its providers; skipped where those can be had from nowhere."""
    folder = tmp_path_factory.mktemp("terraform")
    for path in [*CONFIGURATION, ROOT / "infra/functions.json", ROOT / "infra/gateway.json"]:
        (folder / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.relative_to(ROOT))
    shutil.copytree(ROOT / "tests/infra", folder / "tests/infra", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    write(folder / "build", packages(ROOT, discover()))
    done = terraform(folder, "init", "-backend=false", "-input=false")
    if done.returncode != 0:
        pytest.skip(f"Terraform's providers cannot be had here: {done.stderr.strip().splitlines()[-1]}")
    return folder


@needs_terraform
def test_the_configuration_is_formatted() -> None:
    done = terraform(ROOT, "fmt", "-check", "-recursive", "-list=true")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_terraform
def test_the_configuration_fits_the_providers_schemas(initialised: Path) -> None:
    done = terraform(initialised, "validate")
    assert done.returncode == 0, done.stderr


@needs_terraform
def test_the_configurations_own_tests_pass(initialised: Path) -> None:
    done = terraform(initialised, "test", "-test-directory=tests/infra")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_variable_and_output_is_described() -> None:
    for path in CONFIGURATION:
        text = path.read_text()
        blocks = re.findall(r'^(?:variable|output) "([a-z_]+)" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL)
        for name, body in blocks:
            assert re.search(r"^\s+description\s+=", body, re.MULTILINE), f"{path.name}: {name}"


def test_no_secret_has_its_value_in_the_configuration() -> None:
    text = "".join(path.read_text() for path in CONFIGURATION)
    assert "google_secret_manager_secret_version" not in text
    assert "secret_data" not in text


def test_basic_roles_are_granted_to_nobody() -> None:
    text = "".join(path.read_text() for path in CONFIGURATION)
    assert not re.search(r'"roles/(owner|editor|viewer)"', text)


def test_every_environment_sets_variables_that_exist() -> None:
    known = set(VARIABLE.findall((ROOT / "variables.tf").read_text()))
    for path in (ROOT / "infra/environments").glob("*.tfvars"):
        named = set(re.findall(r"^([a-z_]+)\s*=", path.read_text(), re.MULTILINE))
        assert named <= known, path.name
        assert f'environment        = "{path.stem}"' in path.read_text()


def test_the_functions_run_on_the_python_that_is_checked_and_tested() -> None:
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["python_version"]
    runtime = re.search(
        r'default\s+=\s+"python(\d)(\d+)"', (ROOT / "infra/terraform/functions/variables.tf").read_text()
    )
    assert runtime is not None
    assert f"{runtime[1]}.{runtime[2]}" == checked
