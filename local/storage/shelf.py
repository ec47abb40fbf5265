"""Where objects are kept: an index in SQLite, and each body in files of its own, so that both outlive the process.

A body is written beside the others first and enters the index whole. An object made of many parts stays the list of
their files: completing an upload of gigabytes copies nothing.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_SCHEMA = """
create table if not exists objects (
    bucket text not null,
    key text not null,
    etag text not null,
    pieces text not null,
    headers text not null,
    modified_at text not null,
    primary key (bucket, key)
) without rowid;
create table if not exists uploads (
    id text primary key,
    bucket text not null,
    key text not null,
    headers text not null,
    begun_at text not null
);
create table if not exists parts (
    upload text not null references uploads (id) on delete cascade,
    number integer not null,
    etag text not null,
    file text not null,
    size integer not null,
    modified_at text not null,
    primary key (upload, number)
) without rowid;
"""


@dataclass(frozen=True)
class Piece:
    """A file that holds a run of an object's bytes."""

    file: str
    size: int


@dataclass(frozen=True)
class Kept:
    """One object. `headers` are those that were sent with it and are given back with it."""

    bucket: str
    key: str
    etag: str
    pieces: tuple[Piece, ...]
    headers: Mapping[str, str]
    modified_at: datetime

    @property
    def size(self) -> int:
        return sum(piece.size for piece in self.pieces)


@dataclass(frozen=True)
class Upload:
    """A multipart upload that has begun and not ended."""

    id: str
    bucket: str
    key: str
    headers: Mapping[str, str]
    begun_at: datetime


@dataclass(frozen=True)
class Part:
    number: int
    etag: str
    piece: Piece
    modified_at: datetime


class Shelf:
    """The objects of one folder. Its methods block and may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        self._bodies = folder / "bodies"
        self._index = folder / "objects.sqlite3"
        self._bodies.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._read_now: Counter[str] = Counter()
        self._leaving: set[str] = set()
        with closing(self._open()) as database, database:
            database.execute("pragma journal_mode = wal")
            database.executescript(_SCHEMA)
        self._sweep()

    # bodies

    def new_file(self) -> Path:
        """A place for the next body; what is never put into the index is swept away at the next start."""
        return self._bodies / uuid.uuid4().hex

    def discard(self, file: Path) -> None:
        file.unlink(missing_ok=True)

    def abandon(self, piece: Piece) -> None:
        """Throw away a body that did not get into the index."""
        self.discard(self._bodies / piece.file)

    @contextmanager
    def held(self, kept: Kept) -> Iterator[list[tuple[Path, int]]]:
        """The object's files with their sizes; none of them goes away inside the block, whatever happens to it."""
        names = [piece.file for piece in kept.pieces]
        with self._lock:
            self._read_now.update(names)
        try:
            yield [(self._bodies / piece.file, piece.size) for piece in kept.pieces]
        finally:
            self._let_go(names)

    def _let_go(self, names: Iterable[str]) -> None:
        with self._lock:
            self._read_now.subtract(names)
            free = {name for name in self._leaving if self._read_now[name] <= 0}
            self._leaving -= free
        for name in free:
            (self._bodies / name).unlink(missing_ok=True)

    def _remove(self, pieces: Iterable[Piece]) -> None:
        with self._lock:
            self._leaving.update(piece.file for piece in pieces)
        self._let_go(())

    def _sweep(self) -> None:
        """Bodies that a process left which ended in the middle of taking them."""
        with closing(self._open()) as database:
            known = {row[0] for row in database.execute("select file from parts")}
            for (pieces,) in database.execute("select pieces from objects"):
                known.update(piece.file for piece in _pieces(pieces))
        for file in self._bodies.iterdir():
            if file.name not in known:
                file.unlink()

    # objects

    def find(self, bucket: str, key: str) -> Kept | None:
        with closing(self._open()) as database:
            row = database.execute(_SELECT + " where bucket = ? and key = ?", (bucket, key)).fetchone()
        return _kept(row) if row else None

    def after(self, bucket: str, prefix: str, after: str, limit: int) -> list[Kept]:
        """At most `limit` objects whose keys begin with `prefix` and come after `after`, in the order of their keys."""
        with closing(self._open()) as database:
            rows = database.execute(
                _SELECT
                + " where bucket = ?1 and key >= ?2 and key > ?3 and substr(key, 1, length(?2)) = ?2"
                + " order by key limit ?4",
                (bucket, prefix, after, limit),
            ).fetchall()
        return [_kept(row) for row in rows]

    def put(self, bucket: str, key: str, etag: str, body: Piece, headers: Mapping[str, str]) -> Kept:
        """Keep one body under a key, in place of what was there."""
        with closing(self._open()) as database, database:
            database.execute("begin immediate")
            return self._replace(database, bucket, key, etag, (body,), headers)

    def copy(self, source: Kept, bucket: str, key: str, headers: Mapping[str, str]) -> Kept:
        """Keep the same bytes under another key too."""
        with self.held(source) as files:
            pieces = []
            for file, size in files:
                link = self.new_file()
                os.link(file, link)
                pieces.append(Piece(link.name, size))
        with closing(self._open()) as database, database:
            database.execute("begin immediate")
            return self._replace(database, bucket, key, source.etag, tuple(pieces), headers)

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        """Forget these keys; those that do not exist are as good as forgotten."""
        gone: list[Piece] = []
        with closing(self._open()) as database, database:
            for key in keys:
                for (pieces,) in database.execute(
                    "delete from objects where bucket = ? and key = ? returning pieces", (bucket, key)
                ).fetchall():
                    gone += _pieces(pieces)
        self._remove(gone)

    def _replace(
        self,
        database: sqlite3.Connection,
        bucket: str,
        key: str,
        etag: str,
        pieces: tuple[Piece, ...],
        headers: Mapping[str, str],
    ) -> Kept:
        kept = Kept(bucket, key, etag, pieces, dict(headers), datetime.now(UTC))
        old = database.execute("select pieces from objects where bucket = ? and key = ?", (bucket, key)).fetchone()
        database.execute(
            "insert or replace into objects (bucket, key, etag, pieces, headers, modified_at)"
            " values (?, ?, ?, ?, ?, ?)",
            (bucket, key, etag, _json(pieces), json.dumps(kept.headers), kept.modified_at.isoformat()),
        )
        database.commit()
        if old:
            self._remove(_pieces(old[0]))
        return kept

    # multipart uploads

    def begin(self, bucket: str, key: str, headers: Mapping[str, str]) -> Upload:
        upload = Upload(uuid.uuid4().hex, bucket, key, dict(headers), datetime.now(UTC))
        with closing(self._open()) as database, database:
            database.execute(
                "insert into uploads (id, bucket, key, headers, begun_at) values (?, ?, ?, ?, ?)",
                (upload.id, bucket, key, json.dumps(upload.headers), upload.begun_at.isoformat()),
            )
        return upload

    def upload(self, upload_id: str, bucket: str, key: str) -> Upload | None:
        found = [each for each in self.uploads(bucket, key) if each.id == upload_id and each.key == key]
        return found[0] if found else None

    def uploads(self, bucket: str, prefix: str) -> list[Upload]:
        """The uploads that have begun under a prefix, by key and time."""
        with closing(self._open()) as database:
            rows = database.execute(
                "select id, bucket, key, headers, begun_at from uploads"
                " where bucket = ?1 and substr(key, 1, length(?2)) = ?2 order by key, begun_at, id",
                (bucket, prefix),
            ).fetchall()
        return [Upload(row[0], row[1], row[2], json.loads(row[3]), datetime.fromisoformat(row[4])) for row in rows]

    def add_part(self, upload_id: str, number: int, etag: str, body: Piece) -> bool:
        """Keep a part, in place of an earlier one of that number; False when the upload has ended meanwhile."""
        with closing(self._open()) as database, database:
            database.execute("begin immediate")
            if database.execute("select 1 from uploads where id = ?", (upload_id,)).fetchone() is None:
                return False
            old = database.execute(
                "select file, size from parts where upload = ? and number = ?", (upload_id, number)
            ).fetchone()
            database.execute(
                "insert or replace into parts (upload, number, etag, file, size, modified_at)"
                " values (?, ?, ?, ?, ?, ?)",
                (upload_id, number, etag, body.file, body.size, datetime.now(UTC).isoformat()),
            )
            database.commit()
        if old:
            self._remove([Piece(*old)])
        return True

    def parts(self, upload_id: str) -> list[Part]:
        with closing(self._open()) as database:
            return _parts(database, upload_id)

    def complete(self, upload: Upload, etag: str, numbers: Sequence[int]) -> Kept | None:
        """Make the object out of these parts; None when the upload has ended meanwhile."""
        with closing(self._open()) as database, database:
            database.execute("begin immediate")
            if database.execute("select 1 from uploads where id = ?", (upload.id,)).fetchone() is None:
                return None
            parts = {part.number: part.piece for part in _parts(database, upload.id)}
            chosen = tuple(parts[number] for number in numbers)
            database.execute("delete from uploads where id = ?", (upload.id,))
            kept = self._replace(database, upload.bucket, upload.key, etag, chosen, upload.headers)
        self._remove([piece for number, piece in parts.items() if number not in set(numbers)])
        return kept

    def abort(self, upload_id: str) -> bool:
        """Forget an upload and its parts; False when there is none."""
        with closing(self._open()) as database, database:
            database.execute("begin immediate")
            pieces = [part.piece for part in _parts(database, upload_id)]
            ended = database.execute("delete from uploads where id = ?", (upload_id,)).rowcount == 1
        self._remove(pieces)
        return ended

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._index, timeout=10, isolation_level=None)
        database.execute("pragma foreign_keys = on")
        # In WAL mode nothing is lost when the process ends, only perhaps when the machine does.
        database.execute("pragma synchronous = normal")
        return database


def _parts(database: sqlite3.Connection, upload_id: str) -> list[Part]:
    rows = database.execute(
        "select number, etag, file, size, modified_at from parts where upload = ? order by number", (upload_id,)
    ).fetchall()
    return [Part(row[0], row[1], Piece(row[2], row[3]), datetime.fromisoformat(row[4])) for row in rows]


_SELECT = "select bucket, key, etag, pieces, headers, modified_at from objects"


def _kept(row: tuple[str, str, str, str, str, str]) -> Kept:
    return Kept(row[0], row[1], row[2], _pieces(row[3]), json.loads(row[4]), datetime.fromisoformat(row[5]))


def _pieces(text: str) -> tuple[Piece, ...]:
    return tuple(Piece(file, size) for file, size in json.loads(text))


def _json(pieces: Iterable[Piece]) -> str:
    return json.dumps([(piece.file, piece.size) for piece in pieces])
