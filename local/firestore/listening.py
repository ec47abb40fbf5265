"""One Listen stream: targets, what matches them, and what has changed since the client was last told.

The protocol is google.firestore.v1.Firestore.Listen. A resume token is the moment of the snapshot that it came with,
so that it holds for the hour in which versions are kept, and across restarts. A client that resumes is told what has
changed, and then how many documents there should be (the existence filter), by which it sees that it missed nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from google.cloud.firestore_v1.types import firestore as firestore_types
from google.cloud.firestore_v1.types import write as write_types
from google.rpc import status_pb2  # type: ignore[import-untyped]

from local.firestore import names, queries
from local.firestore.database import SECOND, Database, timestamp
from local.firestore.queries import Query
from local.firestore.versions import HORIZON_SECONDS, Version
from local.refusals import Refusal, invalid

_Response: Any = firestore_types.ListenResponse.pb()
_TargetChange: Any = firestore_types.TargetChange.pb()
_DocumentChange: Any = write_types.DocumentChange.pb()
_DocumentDelete: Any = write_types.DocumentDelete.pb()
_DocumentRemove: Any = write_types.DocumentRemove.pb()
_Filter: Any = write_types.ExistenceFilter.pb()
_Kind = firestore_types.TargetChange.TargetChangeType
_FIRST_ASSIGNED_ID: Final = 1


@dataclass
class _Target:
    """`told` is what the client has been told of: documents by path, with the moment of their version."""

    identifier: int
    query: Query | None
    paths: frozenset[str]
    told: dict[str, int] = field(default_factory=dict)

    def is_touched_by(self, changed: set[str]) -> bool:
        if self.query is None:
            return bool(self.paths & changed)
        return any(self.query.is_in_scope(path) for path in changed)

    def found(self, database: Database, at: int | None = None) -> dict[str, Version]:
        """What matches at a moment, in the order of the query."""
        if self.query is not None:
            return {version.path: version for version in self.query.run(database.versions, at)[self.query.offset :]}
        versions = ((path, database.versions.get(path, at)) for path in sorted(self.paths))
        return {path: version for path, version in versions if version is not None}


class Listening:
    """`opened` gives the database of a name; `check` refuses queries that have no index."""

    def __init__(self, opened: Callable[[str], Database], check: Callable[[Query], None]) -> None:
        self._opened = opened
        self._check = check
        self._database: Database | None = None
        self._targets: dict[int, _Target] = {}
        self._assigns = False
        self._seen = 0

    async def answers(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Answer until the client leaves. Requests and answers are plain protobuf messages."""
        changed = asyncio.Event()
        inbox: asyncio.Queue[Any | None] = asyncio.Queue()
        reader = asyncio.create_task(_read(requests, inbox, changed))
        try:
            while True:
                await changed.wait()
                changed.clear()
                while not inbox.empty():
                    request = inbox.get_nowait()
                    if request is None:
                        return
                    if isinstance(request, Exception):
                        raise request
                    # made at one moment, however long the client takes to read them
                    for answer in list(self._take(request, changed)):
                        yield answer
                for answer in list(self._news()):
                    yield answer
        finally:
            reader.cancel()
            if self._database is not None:
                self._database.listeners.discard(changed)

    def _take(self, request: Any, changed: asyncio.Event) -> Iterator[Any]:
        if self._database is None:
            self._database = self._opened(names.check_database(request.database))
            self._database.listeners.add(changed)
            self._seen = self._database.clock.now()
        elif request.database and request.database != self._database.name:
            raise invalid("A stream listens to one database.")
        match request.WhichOneof("target_change"):
            case "add_target":
                yield from self._news()
                yield from self._add(self._database, request.add_target)
            case "remove_target":
                self._targets.pop(request.remove_target, None)
                yield _target_change(_Kind.REMOVE, request.remove_target)
            case _:
                raise invalid("A listen request adds or removes a target.")

    def _add(self, database: Database, asked: Any) -> Iterator[Any]:
        identifier = self._identifier(asked.target_id)
        try:
            target = self._read_target(database, asked, identifier)
            since = _since(database, asked)
        except Refusal as refusal:
            yield _removed(identifier, refusal)
            return
        yield _target_change(_Kind.ADD, identifier)
        now = database.clock.now()
        if since is not None and since <= now - HORIZON_SECONDS * SECOND:
            since = None
            yield _target_change(_Kind.RESET, identifier)
        if since is not None:
            target.told = {path: version.updated for path, version in target.found(database, since).items()}
        yield from self._difference(database, target, now, is_new=since is None)
        if since is not None:
            yield _Response(filter=_Filter(target_id=identifier, count=len(target.told)))
        yield _target_change(_Kind.CURRENT, identifier, now)
        if asked.once:
            yield _target_change(_Kind.NO_CHANGE, None, now)
            yield _target_change(_Kind.REMOVE, identifier)
            return
        self._targets[identifier] = target
        self._seen = now
        yield _target_change(_Kind.NO_CHANGE, None, now)

    def _news(self) -> Iterator[Any]:
        """What has changed since the client was last told, and the moment up to which it now knows everything."""
        database = self._database
        if database is None:
            return
        changed = database.versions.changed_since(self._seen)
        touched = [target for target in self._targets.values() if target.is_touched_by(changed)]
        now = database.clock.now()
        self._seen = now
        answers = [answer for target in touched for answer in self._difference(database, target, now)]
        if answers:
            yield from answers
            yield _target_change(_Kind.NO_CHANGE, None, now)

    def _difference(self, database: Database, target: _Target, now: int, *, is_new: bool = False) -> Iterator[Any]:
        found = target.found(database)
        for path in target.told.keys() - found.keys():
            yield _gone(database, target, path, now)
        for path, version in found.items():
            if target.told.get(path) != version.updated:
                document = version.document if target.query is None else target.query.show(version.document)
                yield _Response(document_change=_DocumentChange(document=document, target_ids=[target.identifier]))
        if is_new:
            for path in sorted(target.paths - found.keys()):
                yield _gone(database, target, path, now)
        target.told = {path: version.updated for path, version in found.items()}

    def _identifier(self, asked: int) -> int:
        if asked < 0:
            raise invalid("A target id may not be negative.")
        if asked in self._targets:
            raise invalid(f"There is a target {asked} on this stream already.")
        if asked and self._assigns:
            raise invalid("Targets with and without an id cannot be on one stream.")
        if asked:
            return asked
        self._assigns = True
        return max(self._targets, default=_FIRST_ASSIGNED_ID - 1) + 1

    def _read_target(self, database: Database, asked: Any, identifier: int) -> _Target:
        kind = asked.WhichOneof("target_type")
        if kind == "query":
            home, query = queries.read(asked.query.parent, asked.query.structured_query)
            _check_home(home, database)
            self._check(query)
            return _Target(identifier, query, frozenset())
        if kind != "documents" or not asked.documents.documents:
            raise invalid("A target is a query or a set of documents.")
        found = [names.document(name) for name in asked.documents.documents]
        for home, _ in found:
            _check_home(home, database)
        return _Target(identifier, None, frozenset(path for _, path in found))


async def _read(requests: AsyncIterator[Any], inbox: asyncio.Queue[Any | None], changed: asyncio.Event) -> None:
    """Put every request into the inbox, then None (or what kept the next one from being read)."""
    try:
        async for request in requests:
            inbox.put_nowait(type(request).pb(request))
            changed.set()
    except Exception as error:
        inbox.put_nowait(error)
    else:
        inbox.put_nowait(None)
    finally:
        with contextlib.suppress(RuntimeError):
            changed.set()


def _check_home(home: str, database: Database) -> None:
    if home != database.name:
        raise invalid(f'The target is not in the database "{database.name}" of the request.')


def _since(database: Database, asked: Any) -> int | None:
    """The moment that a client resumes at; None where it knows nothing yet."""
    kind = asked.WhichOneof("resume_type")
    if kind is None or (kind == "resume_token" and not asked.resume_token):
        return None
    if kind == "read_time":
        return database.read_time(asked.read_time)
    if not asked.resume_token.isdigit():
        raise invalid("The resume token is not one that this server gave.")
    return min(int(asked.resume_token), database.clock.now())


def _gone(database: Database, target: _Target, path: str, now: int) -> Any:
    name, moment = names.full(database.name, path), timestamp(now)
    if database.versions.get(path) is None:
        deleted = _DocumentDelete(document=name, removed_target_ids=[target.identifier], read_time=moment)
        return _Response(document_delete=deleted)
    removed = _DocumentRemove(document=name, removed_target_ids=[target.identifier], read_time=moment)
    return _Response(document_remove=removed)


def _target_change(kind: Any, identifier: int | None, moment: int | None = None) -> Any:
    """`identifier` None means all targets; with a moment the message says that the client is up to date with it."""
    change = _TargetChange(target_change_type=int(kind), target_ids=[] if identifier is None else [identifier])
    if moment is not None:
        change.read_time.CopyFrom(timestamp(moment))
        change.resume_token = str(moment).encode()
    return _Response(target_change=change)


def _removed(identifier: int, refusal: Refusal) -> Any:
    change = _TargetChange(target_change_type=int(_Kind.REMOVE), target_ids=[identifier])
    change.cause.CopyFrom(status_pb2.Status(code=refusal.code.value[0], message=refusal.sentence))
    return _Response(target_change=change)
