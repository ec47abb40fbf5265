"""One function's archive: its file as main.py, what it imports of `shared`, and the requirements that takes."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.packaging.imports import reached_from
from infra.packaging.requirements import Lock, needed
from shared.http.declaration import Function

# The oldest moment that the format can hold; times of files say nothing that is deployed.
_MOMENT = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o100644 << 16


@dataclass(frozen=True)
class Package:
    """What is deployed of a function. `digest` is the SHA-256 of `content`, the archive's bytes."""

    name: str
    files: Mapping[str, bytes]
    distributions: frozenset[str]
    requirements: str
    content: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def file_name(self) -> str:
        """Named for its content: an unchanged function has an unchanged object, and is not deployed again."""
        return f"{self.name}-{self.digest[:16]}.zip"


def package(root: Path, function: Function, lock: Lock) -> Package:
    """Pack a function of the checkout at `root`.

    Raises:
        NotLocked: it imports what requirements.txt does not hold.
    """
    reached = reached_from(root, function.source)
    distributions = needed(reached.modules, lock)
    requirements = lock.text_of(distributions)
    files = {path.as_posix(): (root / path).read_bytes() for path in reached.files}
    files["main.py"] = function.source.read_bytes()
    files["requirements.txt"] = requirements.encode()
    return Package(function.name, files, distributions, requirements, _zipped(files))


def packages(root: Path, functions: Sequence[Function]) -> list[Package]:
    """All of them, ordered by name."""
    lock = Lock.read(root / "requirements.txt")
    return [package(root, function, lock) for function in sorted(functions, key=lambda function: function.name)]


def _zipped(files: Mapping[str, bytes]) -> bytes:
    """Stored, not deflated: what a compressor makes of the same bytes depends on its version."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _MOMENT)
            entry.create_system, entry.external_attr = 3, _READABLE
            archive.writestr(entry, files[name])
    return content.getvalue()
