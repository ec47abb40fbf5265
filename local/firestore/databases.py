"""All databases of one server: their documents, their transactions, what expires in them."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from google.cloud.firestore_v1.types import write as write_types

from local.firestore import limits, names, writes
from local.firestore.database import SECOND, Clock, Database
from local.firestore.indexes import IndexBook
from local.firestore.journal import Journal
from local.firestore.transactions import Patience, Transactions
from local.firestore.versions import HORIZON_SECONDS, Version
from local.refusals import Refusal, not_found

log = logging.getLogger(__name__)

# The service deletes expired documents within a day, typically: code that trusts it to be prompt is found out.
TTL_LAG_SECONDS: Final = 86_400.0
_TIMESTAMP_RANK: Final = 3

_Write: Any = write_types.Write.pb()


@dataclass(frozen=True)
class Settings:
    """`databases` are the ids that exist in every project; documents stay `ttl_lag_seconds` after they have expired."""

    databases: frozenset[str] = frozenset({names.DEFAULT_DATABASE})
    ttl_lag_seconds: float = TTL_LAG_SECONDS
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True)
class Opened:
    database: Database
    transactions: Transactions


class Databases:
    """One file holds all of them. A database is opened when it is first asked for."""

    def __init__(
        self, path: Path, indexes: IndexBook, settings: Settings, wall: Callable[[], float] = time.time
    ) -> None:
        self.indexes = indexes
        self._settings = settings
        self._journal = Journal(path)
        self._clock = Clock(self._journal.latest(), wall)
        self._opened: dict[str, Opened] = {}
        for name in self._journal.databases():
            if name.rpartition("/")[2] in settings.databases:
                self.open(name)

    def close(self) -> None:
        self._journal.close()

    def open(self, name: str) -> Opened:
        """The database of a resource name. Raises a refusal when the project has none of that id."""
        opened = self._opened.get(name)
        if opened is None:
            _, project, _, identifier = names.check_database(name).split("/")
            if identifier not in self._settings.databases:
                raise not_found(
                    f"The database {identifier} does not exist for project {project}. FIRESTORE_DATABASES names "
                    "those that the local cloud has."
                )
            database = Database(name, self._journal, self._clock)
            opened = Opened(database, Transactions(database, self._check, self._settings.patience))
            self._opened[name] = opened
        return opened

    def expire_transactions(self) -> None:
        for opened in self._opened.values():
            opened.transactions.expire()

    def forget(self) -> None:
        """Let go of versions that nobody may read any more."""
        if sum(len(opened.database.forget()) for opened in self._opened.values()):
            self._journal.forget(self._clock.now() - HORIZON_SECONDS * SECOND)

    async def delete_expired(self) -> int:
        """Delete documents whose time has been over for as long as the lag. Returns how many.

        Each goes alone, and only if nobody has written it in the meantime, as with the service's own deletions.
        """
        deleted = 0
        for opened in list(self._opened.values()):
            for version in list(self._expired(opened.database)):
                write = _Write(delete=version.document.name)
                write.current_document.update_time.CopyFrom(version.document.update_time)
                with contextlib.suppress(Refusal):
                    await opened.transactions.commit(None, writes.read([write], opened.database.name))
                    deleted += 1
        return deleted

    def _expired(self, database: Database) -> Iterator[Version]:
        latest = (self._clock.seconds() - self._settings.ttl_lag_seconds) * SECOND
        for group, path in self.indexes.current().expiring.items():
            for version in database.versions.group(group, ""):
                key = version.key(path)
                if key is not None and key[0] == _TIMESTAMP_RANK and key[1] * SECOND + key[2] // 1000 <= latest:
                    yield version

    def _check(self, path: str, document: Any) -> None:
        group = path.split("/")[-2]
        declared = self.indexes.current()
        limits.check(path, document, lambda field_path: declared.modes(group, field_path))
