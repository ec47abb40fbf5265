"""What is deployed of a function holds what it needs and nothing else, and only changes when that changes."""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.packaging.__main__ import write
from infra.packaging.archive import Package, packages
from infra.packaging.imports import reached_from
from infra.packaging.requirements import Lock, NotLocked, needed
from shared.http.declaration import Function
from shared.http.discovery import ROOT, discover
from tests.contract.test_functions_start_alone import assert_answers, wait_until_it_answers
from tests.support.functions import environment, started

MIB = 1024 * 1024
LARGEST_ARCHIVE, LARGEST_INSTALLATION = 1 * MIB, 60 * MIB
UV = ROOT / ".venv" / "bin" / "uv"


@pytest.fixture(scope="module")
def declared() -> dict[str, Function]:
    return {function.name: function for function in discover()}


@pytest.fixture(scope="module")
def packed(declared: dict[str, Function]) -> dict[str, Package]:
    return {one.name: one for one in packages(ROOT, list(declared.values()))}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what is packed, with other times, that a test may change."""
    for folder in ("functions", "shared"):
        shutil.copytree(ROOT / folder, tmp_path / folder, copy_function=shutil.copyfile)
    shutil.copyfile(ROOT / "requirements.txt", tmp_path / "requirements.txt")
    return tmp_path


def digests(root: Path) -> dict[str, str]:
    return {one.name: one.digest for one in packages(root, discover(root))}


def unpacked(package: Package, folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(package.content)) as archive:
        archive.extractall(folder)
    return folder


def test_another_checkout_of_the_same_sources_packs_the_same_bytes(packed: dict[str, Package], checkout: Path) -> None:
    assert digests(checkout) == {name: one.digest for name, one in packed.items()}


@pytest.mark.parametrize(
    "changed", ["shared/voice/sentences.py", "shared/accounts/passwords.py", "shared/http/paging.py"]
)
def test_a_changed_file_changes_the_archives_of_those_who_import_it_and_no_others(
    packed: dict[str, Package], checkout: Path, changed: str
) -> None:
    with (checkout / changed).open("a") as file:
        file.write("\n# A remark.\n")
    after = digests(checkout)
    differing = {name for name, one in packed.items() if after[name] != one.digest}
    assert differing == {name for name, one in packed.items() if changed in one.files}
    assert 0 < len(differing) < len(packed)


def test_an_unchanged_function_keeps_its_objects_name_and_a_stale_archive_goes(
    packed: dict[str, Package], tmp_path: Path
) -> None:
    (tmp_path / "accounts-me-0000000000000000.zip").write_bytes(b"of an earlier version")
    (tmp_path / "notes.txt").write_text("somebody's own")
    write(tmp_path, list(packed.values()))
    assert {path.name for path in tmp_path.glob("*.zip")} == {one.file_name for one in packed.values()}
    assert (tmp_path / "notes.txt").exists()


def test_no_archive_is_large(packed: dict[str, Package]) -> None:
    assert {name: len(one.content) for name, one in packed.items() if len(one.content) > LARGEST_ARCHIVE} == {}


def test_a_function_of_the_database_brings_no_speech_and_no_grpc(packed: dict[str, Package]) -> None:
    package = packed["accounts-me"]
    assert not {"grpcio", "av", "google-cloud-speech"} & package.distributions
    assert not any(name.startswith(("shared/voice/", "shared/assistant/")) for name in package.files)


def test_no_archive_holds_anything_but_the_function_shared_and_its_requirements(packed: dict[str, Package]) -> None:
    for package in packed.values():
        others = {name for name in package.files if not name.startswith("shared/")}
        assert others == {"main.py", "requirements.txt"}, package.name
        assert not [name for name in package.files if "__pycache__" in name], package.name


def test_every_requirement_is_pinned_with_hashes(packed: dict[str, Package]) -> None:
    for package in packed.values():
        lines = [line for line in package.requirements.splitlines() if line and not line.startswith(" ")]
        assert len(lines) >= len(package.distributions)
        assert all("==" in line and line.endswith("\\") for line in lines), package.name
        assert package.requirements.count("--hash=sha256:") >= len(lines)


def test_what_is_imported_inside_a_function_is_packed_and_what_is_imported_for_types_is_not(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    for name in ("__init__", "late", "typed", "unused"):
        (shared / f"{name}.py").write_text("")
    main = tmp_path / "main.py"
    main.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from shared import typed\n"
        "def work():\n    from shared.late import thing\n    import json\n"
    )
    reached = reached_from(tmp_path, main)
    assert {path.as_posix() for path in reached.files} == {"shared/__init__.py", "shared/late.py"}
    assert "json" in reached.modules


def test_an_import_that_is_not_locked_is_refused_by_name() -> None:
    with pytest.raises(NotLocked, match="pytest"):
        needed({"pytest"}, Lock.read(ROOT / "requirements.txt"))


# Each distinct set of requirements is installed once, into an environment with nothing else in it.


def requirement_sets() -> list[list[str]]:
    grouped: dict[str, list[str]] = {}
    for one in packages(ROOT, discover()):
        grouped.setdefault(one.requirements, []).append(one.name)
    return list(grouped.values())


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(tmp_path_factory.mktemp("nobody"))


def installed(requirements: str, folder: Path) -> Path:
    listed = folder / "requirements.txt"
    listed.write_text(requirements)
    python = folder / "environment" / "bin" / "python"
    for arguments in (
        ["venv", "--quiet", "--python", str(ROOT / ".venv/bin/python"), str(folder / "environment")],
        ["pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(listed)],
    ):
        done = subprocess.run([str(UV), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return python.parent


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def files_of_packages(programs: Path) -> Iterator[Path]:
    yield from (programs.parent / "lib").glob("python*/site-packages")


@pytest.mark.parametrize("names", requirement_sets(), ids=lambda names: names[0])
def test_a_function_starts_from_its_archive_alone_with_its_own_requirements_alone(
    names: list[str],
    packed: dict[str, Package],
    declared: dict[str, Function],
    variables: dict[str, str],
    tmp_path: Path,
) -> None:
    package, function = packed[names[0]], declared[names[0]]
    programs = installed(package.requirements, tmp_path)
    source = unpacked(package, tmp_path / "archive") / "main.py"
    with started(source, variables, tmp_path, programs) as running:
        wait_until_it_answers(running)
        for operation in function.operations:
            assert_answers(running, operation)
    if "grpcio" not in package.distributions and "av" not in package.distributions:
        assert sum(map(size_of, files_of_packages(programs))) <= LARGEST_INSTALLATION
