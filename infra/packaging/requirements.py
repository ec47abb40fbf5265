"""Which of the locked requirements a function needs: those it imports, and what those need in turn."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# The platform starts every function by it, whether the function imports it or not.
ALWAYS = ("functions-framework",)
# What a module needs without importing it by name, or only when it is used in the way that we use it.
IMPLIED: Mapping[str, tuple[str, ...]] = {
    "jwt": ("cryptography",),  # our tokens are ES256
    "google.auth.transport.requests": ("requests",),
    "starlette.datastructures.UploadFile": ("python-multipart",),  # forms
    "zoneinfo": ("tzdata",),
}
_ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==", re.MULTILINE)


class NotLocked(Exception):
    """A function imports what requirements.txt does not hold."""


@dataclass(frozen=True)
class Lock:
    """The entries of a hashed requirements file by their distributions' canonical names, each as it is written."""

    entries: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> Lock:
        text = path.read_text(encoding="utf-8")
        starts = [(match.start(), canonicalize_name(match["name"])) for match in _ENTRY.finditer(text)]
        ends = [start for start, _ in starts[1:]] + [len(text)]
        entries: dict[str, str] = {}
        for (start, name), end in zip(starts, ends, strict=True):
            # One distribution may be locked once for each platform or Python.
            entries[name] = entries.get(name, "") + text[start:end].rstrip() + "\n"
        return cls(entries)

    def text_of(self, names: Iterable[str]) -> str:
        return "".join(self.entries[name] for name in sorted(names))


def needed(modules: Iterable[str], lock: Lock) -> frozenset[str]:
    """The canonical names of the distributions that importing `modules` takes.

    Raises:
        NotLocked: a module belongs to a distribution that the lock does not have.
    """
    asked = set(ALWAYS)
    for module in modules:
        asked.update(IMPLIED.get(module, ()))
        if (owner := _owner(module)) is not None:
            asked.add(owner)
    found: set[str] = set()
    for name in map(canonicalize_name, asked):
        if name not in lock.entries:
            raise NotLocked(f"{name} is imported, and requirements.txt does not have it")
        _follow(Requirement(name), lock, found, set())
    return frozenset(found)


def _follow(wanted: Requirement, lock: Lock, found: set[str], seen: set[tuple[str, str]]) -> None:
    name = canonicalize_name(wanted.name)
    extras = wanted.extras or {""}
    for extra in extras:
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        # What is locked for other platforms alone is not installed here, and needs nothing more that we could ask for.
        if name not in lock.entries:
            continue
        found.add(name)
        for needed_by_it in _requires(name):
            if needed_by_it.marker is None or needed_by_it.marker.evaluate({"extra": extra}):
                _follow(needed_by_it, lock, found, seen)


@functools.cache
def _requires(name: str) -> tuple[Requirement, ...]:
    try:
        return tuple(Requirement(line) for line in metadata.requires(name) or ())
    except metadata.PackageNotFoundError:
        return ()


def _owner(module: str) -> str | None:
    """The distribution whose files hold this module; None for the standard library, and for names inside modules."""
    return _owners().get(module)


@functools.cache
def _owners() -> Mapping[str, str]:
    return dict(_modules_installed())


def _modules_installed() -> Iterator[tuple[str, str]]:
    for distribution in metadata.distributions():
        for file in distribution.files or ():
            if file.suffix not in {".py", ".so"} or file.parts[0] in {"..", "bin"}:
                continue
            parts = [*file.parts[:-1], file.name.partition(".")[0]]
            if parts[-1] == "__init__":
                parts.pop()
            yield ".".join(parts), distribution.metadata["Name"]
