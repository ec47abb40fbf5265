"""Documents of one database in memory, at any moment of the last hour."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from local.firestore import fields, values
from local.firestore.fields import FieldPath

HORIZON_SECONDS: Final = 3_600


class Version:
    """A document as it was from one commit (`updated`, microseconds) until another (`until`; None: still is)."""

    __slots__ = ("_keys", "document", "path", "until", "updated")

    def __init__(self, path: str, document: Any, updated: int, until: int | None = None) -> None:
        self.path = path
        self.document = document
        self.updated = updated
        self.until = until
        self._keys: dict[FieldPath, values.Key | None] = {}

    def key(self, path: FieldPath) -> values.Key | None:
        """The place of a field's value among all values; None where there is no such field."""
        if path not in self._keys:
            self._keys[path] = self._key(path)
        return self._keys[path]

    def _key(self, path: FieldPath) -> values.Key | None:
        if path == fields.NAME:
            return values.reference_key(self.document.name)
        value = fields.get(self.document.fields, path)
        return None if value is None else values.key(value)

    def is_alive(self, at: int) -> bool:
        return self.updated <= at and (self.until is None or at < self.until)


class Versions:
    """Collections by their path, in them versions by the document's id, oldest first.

    Moments are microseconds since the epoch; `at=None` asks for what is there now.
    """

    def __init__(self) -> None:
        self._collections: dict[str, dict[str, list[Version]]] = {}
        self._groups: dict[str, set[str]] = {}
        self._superseded: deque[Version] = deque()
        self._changed_at: list[int] = []
        self._changed: list[str] = []

    def get(self, path: str, at: int | None = None) -> Version | None:
        collection, _, identifier = path.rpartition("/")
        return _at(self._collections.get(collection, {}).get(identifier, ()), at)

    def put(self, path: str, document: Any | None, moment: int) -> Version | None:
        """Let a document be this from a moment on; None deletes it. Returns the version that this ends."""
        collection, _, identifier = path.rpartition("/")
        if collection not in self._collections:
            self._collections[collection] = {}
            self._groups.setdefault(collection.rpartition("/")[2], set()).add(collection)
        held = self._collections[collection].setdefault(identifier, [])
        ended = _at(held, None)
        if ended is not None:
            ended.until = moment
            self._superseded.append(ended)
        if document is not None:
            held.append(Version(path, document, moment))
        self._changed_at.append(moment)
        self._changed.append(path)
        return ended

    def load(self, version: Version) -> None:
        """Take a version from the disk; oldest first for each document. `finish_loading` comes after the last."""
        collection, _, identifier = version.path.rpartition("/")
        self._collections.setdefault(collection, {}).setdefault(identifier, []).append(version)
        self._groups.setdefault(collection.rpartition("/")[2], set()).add(collection)

    def finish_loading(self) -> None:
        every = [version for held in self._collections.values() for item in held.values() for version in item]
        ended = sorted((version for version in every if version.until is not None), key=lambda item: item.until or 0)
        self._superseded = deque(ended)
        changes = {(version.updated, version.path) for version in every}
        changes |= {(version.until or 0, version.path) for version in ended}
        ordered = sorted(changes)
        self._changed_at = [moment for moment, _ in ordered]
        self._changed = [path for _, path in ordered]

    def collection(self, path: str, at: int | None = None) -> Iterator[Version]:
        """The documents of one collection, in no order."""
        for held in self._collections.get(path, {}).values():
            version = _at(held, at)
            if version is not None:
                yield version

    def group(self, collection_id: str, below: str, at: int | None = None) -> Iterator[Version]:
        """The documents of all collections of this id below a document (or the root); of any id where it is empty."""
        chosen = self._groups.get(collection_id, set()) if collection_id else self._collections.keys()
        prefix = f"{below}/" if below else ""
        for path in list(chosen):
            if path.startswith(prefix):
                yield from self.collection(path, at)

    def collection_paths(self, below: str, at: int | None = None) -> Iterator[str]:
        """The paths of the collections below a document (or the root), however deep, that hold a document."""
        prefix = f"{below}/" if below else ""
        for path in self._collections:
            if path.startswith(prefix) and any(True for _ in self.collection(path, at)):
                yield path

    def changed_since(self, moment: int) -> set[str]:
        """The paths of documents that changed after a moment within the last hour."""
        return set(self._changed[bisect_right(self._changed_at, moment) :])

    def forget(self, horizon: int) -> list[Version]:
        """Let go of versions that ended at or before a moment. Returns them."""
        gone: list[Version] = []
        while self._superseded and (self._superseded[0].until or 0) <= horizon:
            gone.append(self._superseded.popleft())
        for version in gone:
            self._drop(version)
        passed = bisect_right(self._changed_at, horizon)
        del self._changed_at[:passed], self._changed[:passed]
        return gone

    def _drop(self, version: Version) -> None:
        collection, _, identifier = version.path.rpartition("/")
        held = self._collections[collection][identifier]
        held.remove(version)
        if not held:
            del self._collections[collection][identifier]
            if not self._collections[collection]:
                del self._collections[collection]
                self._groups[collection.rpartition("/")[2]].discard(collection)


def _at(held: list[Version] | tuple[()], at: int | None) -> Version | None:
    if not held:
        return None
    if at is None:
        return held[-1] if held[-1].until is None else None
    return next((version for version in reversed(held) if version.is_alive(at)), None)
