"""What the stand-in keeps, read from its file by somebody else: for the console's pages.

Nothing of Google's client is loaded before a document is opened: the gateway, which shows it, starts without.
"""

from __future__ import annotations

import base64
import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PAGE: Final = 100


@dataclass(frozen=True)
class Collection:
    """`path` is below the root of the database; `documents` counts them."""

    database: str
    path: str
    documents: int


@dataclass(frozen=True)
class Document:
    """Times are RFC 3339; `fields` are JSON, for people to read."""

    path: str
    created_at: str
    updated_at: str
    fields: str
    bytes: int


@dataclass(frozen=True)
class Page:
    """Documents by path; `after` is where the next page begins, None at the end."""

    documents: tuple[Document, ...]
    after: str | None


class Shelf:
    """The file at a path, read only. Where there is none yet, there is nothing in it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def collections(self) -> list[Collection]:
        """Every collection with a document in it, by database and path."""
        counts: dict[tuple[str, str], int] = {}
        with self._opened() as db:
            for database, path in db.execute("select database, path from documents"):
                key = database, path.rpartition("/")[0]
                counts[key] = counts.get(key, 0) + 1
        return [Collection(*key, count) for key, count in sorted(counts.items())]

    def documents(self, database: str, collection: str, after: str = "", size: int = PAGE) -> Page:
        """The documents of one collection whose path comes after `after`."""
        first, last = f"{collection}/", f"{collection}0"
        found: list[Document] = []
        with self._opened() as db:
            rows = db.execute(
                "select path, body from documents where database = ? and path > ? and path < ? order by path",
                (database, max(after, first), last),
            )
            for path, body in rows:
                if "/" in path[len(first) :]:
                    continue
                if len(found) == size:
                    return Page(tuple(found), found[-1].path)
                found.append(_document(path, body))
        return Page(tuple(found), None)

    def document(self, database: str, path: str) -> Document | None:
        with self._opened() as db:
            row = db.execute("select body from documents where database = ? and path = ?", (database, path)).fetchone()
        return None if row is None else _document(path, row[0])

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        if not self._path.exists():
            with contextlib.closing(sqlite3.connect(":memory:")) as nothing:
                nothing.execute("create table documents (database text, path text, body blob)")
                yield nothing
            return
        with contextlib.closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)) as db:
            yield db


def _document(path: str, body: bytes) -> Document:
    from google.cloud.firestore_v1.types import document as document_types

    kind: Any = document_types.Document.pb()
    message = kind.FromString(body)
    shown = {name: _plain(message.fields[name]) for name in sorted(message.fields)}
    created, updated = (stamp.ToJsonString() for stamp in (message.create_time, message.update_time))
    return Document(path, created, updated, json.dumps(shown, indent=2, ensure_ascii=False), len(body))


def _plain(value: Any) -> Any:
    """A value as JSON can show it."""
    kind = value.WhichOneof("value_type")
    match kind:
        case None | "null_value":
            return None
        case "array_value":
            return [_plain(item) for item in value.array_value.values]
        case "map_value":
            held = value.map_value.fields
            return {name: _plain(held[name]) for name in sorted(held)}
        case "timestamp_value":
            return value.timestamp_value.ToJsonString()
        case "bytes_value":
            return f"base64:{base64.b64encode(value.bytes_value).decode()}"
        case "geo_point_value":
            point = value.geo_point_value
            return {"latitude": point.latitude, "longitude": point.longitude}
    return getattr(value, kind)
