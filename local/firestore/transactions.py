"""Transactions of one database: serializable, pessimistic unless a client asks for optimistic ones.

Pessimistic is what the Standard edition does by default
(https://firebase.google.com/docs/firestore/transaction-data-contention): what a transaction has read, others can
change only after it has ended. A transaction that has to give way is doomed: it goes on reading what it could have read
when it lost its locks, and its commit is ABORTED, which is where the clients try again. Read-only transactions and
reads outside of transactions look at a snapshot and never wait.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, NoReturn, TypeVar

import grpc
from google.cloud.firestore_v1.types import common

from local.firestore import writes
from local.firestore.database import Database, timestamp
from local.firestore.locks import LockKey, Locks, Wait
from local.firestore.queries import Query
from local.firestore.versions import Version
from local.firestore.writes import Change, Staged
from local.refusals import Refusal, invalid

IDLE_SECONDS: Final = 60.0
TOTAL_SECONDS: Final = 270.0
LOCK_WAIT_SECONDS: Final = 20.0
_REMEMBERED: Final = 10_000
_CONTENTION_SECONDS: Final = 10.0
_OPTIMISTIC: Final = int(common.TransactionOptions.ConcurrencyMode.OPTIMISTIC)
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Patience:
    """How long a transaction may rest and last, and how long anybody waits for a lock, in seconds."""

    idle_seconds: float = IDLE_SECONDS
    total_seconds: float = TOTAL_SECONDS
    lock_wait_seconds: float = LOCK_WAIT_SECONDS


@dataclass(eq=False)
class Transaction:
    """`snapshot` is the moment it reads at, None for now; one that is tried again locks `alone`."""

    identifier: bytes
    age: int
    begun: float
    used: float
    read_only: bool = False
    optimistic: bool = False
    alone: bool = False
    doomed: bool = False
    snapshot: int | None = None
    calls: int = 0
    committing: bool = False
    paths: set[str] = field(default_factory=set)
    queries: dict[LockKey, tuple[Query, Version | None]] = field(default_factory=dict)


class Transactions:
    """Those of one database. `check` refuses documents that may not be stored."""

    def __init__(self, database: Database, check: Callable[[str, Any], None], patience: Patience) -> None:
        self._database = database
        self._check = check
        self._patience = patience
        self._locks = Locks(self._doom)
        self._running: dict[bytes, Transaction] = {}
        self._ages: OrderedDict[bytes, int] = OrderedDict()
        # what transactions that had to give way were locking together, and when one last had to
        self._together: dict[LockKey, dict[LockKey, Query | None]] = {}
        self._contended_at = 0.0
        self._next_age = count()

    def begin(self, options: Any, *, read_only_by_default: bool = False) -> Transaction:
        """Start one as TransactionOptions asks."""
        mode = options.WhichOneof("mode") or ("read_only" if read_only_by_default else "read_write")
        now = self._database.clock.seconds()
        retried = options.read_write.retry_transaction
        age = self._ages.get(retried)
        started = Transaction(
            identifier=secrets.token_bytes(16),
            age=next(self._next_age) if age is None else age,
            begun=now,
            used=now,
            read_only=mode == "read_only",
            optimistic=mode == "read_write" and options.read_write.concurrency_mode == _OPTIMISTIC,
            alone=bool(retried),
        )
        if started.read_only:
            asked = options.read_only
            started.snapshot = (
                self._database.read_time(asked.read_time) if asked.HasField("read_time") else self._database.clock.now()
            )
        self._running[started.identifier] = started
        self._ages[started.identifier] = started.age
        if len(self._ages) > _REMEMBERED:
            self._ages.popitem(last=False)
        return started

    def running(self, identifier: bytes) -> Transaction:
        """The transaction of this id. Raises a refusal when it has ended or taken too long."""
        found = self._running.get(identifier)
        if found is not None and self._is_over(found):
            self._end(found)
            found = None
        if found is None:
            raise _over()
        return found

    def roll_back(self, identifier: bytes) -> None:
        """End a transaction without its writes; nothing where it has ended already."""
        found = self._running.get(identifier)
        if found is not None:
            self._end(found)

    def expire(self) -> None:
        """End those that have rested or lasted too long, so that nobody waits for them any more."""
        for transaction in list(self._running.values()):
            if self._is_over(transaction):
                self._end(transaction)

    async def read(self, transaction: Transaction, paths: Iterable[str]) -> int | None:
        """Get ready to read documents. Returns the moment to read them at; None is now."""
        wanted = list(paths)
        if self._reads_a_snapshot(transaction):
            transaction.paths.update(wanted)
            return transaction.snapshot
        await self._locked(transaction, [("document", path) for path in wanted])
        return transaction.snapshot

    async def query(
        self, transaction: Transaction, query: Query, message: bytes, *, documents: bool = True
    ) -> tuple[list[Version], int | None]:
        """Run a query in a transaction. Returns its documents and the moment they were read at (None: now).

        `message` tells queries apart. Without `documents` only the result as such is locked, for aggregations.
        """
        key: LockKey = ("query", (query.parent, message))
        transaction.queries.setdefault(key, (query, None))
        if self._reads_a_snapshot(transaction):
            return query.run(self._database.versions, transaction.snapshot), transaction.snapshot
        await self._locked(transaction, [key])
        found: list[Version] = []
        waited = True
        while waited and not transaction.doomed:
            found = query.run(self._database.versions)
            waited = documents and await self._locked(transaction, [("document", version.path) for version in found])
        if transaction.doomed:
            return query.run(self._database.versions, transaction.snapshot), transaction.snapshot
        is_full = query.limit is not None and len(found) == query.offset + query.limit and found
        transaction.queries[key] = (query, found[-1] if is_full else None)
        return found, None

    async def commit(self, transaction: Transaction | None, changes: Sequence[Change]) -> tuple[Staged, int]:
        """Write, and end the transaction. Returns what was written, and the moment.

        Raises the refusal of a write (nothing is changed then, and the transaction goes on), or ABORTED (it has ended).
        """
        if transaction is not None:
            if transaction.read_only and changes:
                raise invalid("Cannot modify entities in a read-only transaction.")
            if transaction.doomed:
                self._abort(transaction)
            transaction.committing = True
        keys = frozenset[LockKey](("document", change.path) for change in changes)

        def proceed() -> tuple[Staged, int]:
            if transaction is not None and transaction.optimistic and not self._still_holds(transaction):
                self._abort(transaction)
            moment = self._database.clock.now()
            staged = self._staged(changes, moment)
            self._database.commit(staged.documents, moment)
            if transaction is not None:
                self._end(transaction)
            return staged, moment

        def blockers() -> set[Any]:
            return self._readers(transaction, keys, changes)

        wait = Wait(transaction, keys, exclusive=True, blockers=blockers, proceed=proceed)
        try:
            _, written = await self._patiently(transaction, lambda: self._locks.wait(wait))
        finally:
            if transaction is not None:
                transaction.committing = False
        staged, moment = written
        return staged, moment

    def _staged(self, changes: Iterable[Change], moment: int) -> Staged:
        return writes.stage(changes, self._current, timestamp(moment), self._check)

    def _current(self, path: str) -> Any | None:
        found = self._database.versions.get(path)
        return None if found is None else found.document

    def _reads_a_snapshot(self, transaction: Transaction) -> bool:
        if transaction.optimistic and transaction.snapshot is None:
            transaction.snapshot = self._database.clock.now()
        return transaction.snapshot is not None

    async def _locked(self, transaction: Transaction, keys: Sequence[LockKey]) -> bool:
        wanted = set(keys)
        if transaction.alone:
            wanted |= self._locked_together(transaction, keys)

        def acquire() -> Awaitable[bool]:
            return self._locks.acquire(transaction, wanted, exclusive=transaction.alone)

        return await self._patiently(transaction, acquire)

    async def _patiently(self, transaction: Transaction | None, work: Callable[[], Awaitable[_Result]]) -> _Result:
        """Wait, but not for ever. Whoever loses patience is ABORTED."""
        if transaction is not None:
            transaction.calls += 1
        try:
            async with asyncio.timeout(self._patience.lock_wait_seconds):
                return await work()
        except TimeoutError:
            self._abort(transaction)
        finally:
            if transaction is not None:
                transaction.calls -= 1
                transaction.used = self._database.clock.seconds()

    def _readers(self, writer: Transaction | None, keys: Iterable[LockKey], changes: Sequence[Change]) -> set[Any]:
        """Transactions that have read what is about to change."""
        found = {holder for key in keys for holder in self._locks.holders(key) if holder is not writer}
        watching = [(holder, key) for holder, key in self._locks.held_queries() if holder is not writer]
        if found or not watching:
            return found
        try:
            staged = self._staged(changes, self._database.clock.now())
        except Refusal:
            # `proceed` will meet it again
            return found
        return {holder for holder, key in watching if self._changes_result(holder.queries[key], staged)}

    def _changes_result(self, watched: tuple[Query, Version | None], staged: Staged) -> bool:
        """Whether writes touch what a query would find, as far as the last document of a full result."""
        query, last = watched
        for path, document in staged.documents.items():
            if not query.is_in_scope(path):
                continue
            after = None if document is None else Version(path, document, 0)
            for version in (self._database.versions.get(path), after):
                if version is None or not query.covers(version):
                    continue
                if last is None or not query.is_before(last, version):
                    return True
        return False

    def _still_holds(self, transaction: Transaction) -> bool:
        """Whether everything that an optimistic transaction has read is as it was."""
        at = transaction.snapshot
        versions = self._database.versions
        return all(versions.get(path) is versions.get(path, at) for path in transaction.paths) and all(
            query.run(versions) == query.run(versions, at) for query, _ in transaction.queries.values()
        )

    def _doom(self, transaction: Transaction) -> None:
        self._remember_together(transaction)
        transaction.doomed = True
        transaction.snapshot = self._database.clock.now()
        if transaction.committing:
            self._locks.abandon(transaction, lambda done: done.set_exception(_contention()))
            self._end(transaction)
        else:
            self._locks.abandon(transaction, lambda done: done.set_result(None))
            self._locks.release(transaction)

    def _remember_together(self, transaction: Transaction) -> None:
        queries: dict[LockKey, Query | None] = {key: query for key, (query, _) in transaction.queries.items()}
        interests = {key: queries.get(key) for key in self._locks.interests(transaction)}
        self._contended_at = self._database.clock.seconds()
        for key in interests:
            self._together.setdefault(key, {}).update(interests)

    def _locked_together(self, transaction: Transaction, keys: Iterable[LockKey]) -> set[LockKey]:
        """What to lock beside these at once: whoever holds nothing while it waits is in nobody's way.

        It goes by what is locked, not by who is tried again: the Python client tells all concurrent calls of one
        decorated function to retry the same transaction.
        """
        if self._database.clock.seconds() - self._contended_at > _CONTENTION_SECONDS:
            self._together.clear()
        found: dict[LockKey, Query | None] = {}
        for key in keys:
            found |= self._together.get(key, {})
        for key, query in found.items():
            if query is not None:
                transaction.queries.setdefault(key, (query, None))
        return set(found)

    def _abort(self, transaction: Transaction | None) -> NoReturn:
        if transaction is not None:
            self._end(transaction)
        raise _contention()

    def _end(self, transaction: Transaction) -> None:
        self._running.pop(transaction.identifier, None)
        self._locks.abandon(transaction, lambda done: done.set_exception(_over()))
        self._locks.release(transaction)

    def _is_over(self, transaction: Transaction) -> bool:
        now = self._database.clock.seconds()
        is_idle = not transaction.calls and now - transaction.used > self._patience.idle_seconds
        return is_idle or now - transaction.begun > self._patience.total_seconds


def _contention() -> Refusal:
    return Refusal(grpc.StatusCode.ABORTED, "Too much contention on these documents. Please try again.")


def _over() -> Refusal:
    return invalid("The referenced transaction has expired or is no longer valid.")
