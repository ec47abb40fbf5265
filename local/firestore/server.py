"""The Firestore stand-in as a part of any asyncio process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport

from local.faults import FaultBook
from local.firestore import names
from local.firestore.api import Firestore
from local.firestore.databases import TTL_LAG_SECONDS, Databases, Settings
from local.firestore.indexes import IndexBook
from local.grpc_server import GrpcServer, StandIn
from local.places import REPOSITORY

INDEXES_FILE: Final = REPOSITORY / "infra" / "firestore" / "indexes.json"
# how often transactions that have taken too long are ended, and how many such rounds make one of the slow upkeep
_ROUND_SECONDS: Final = 1.0
_SLOW_ROUNDS: Final = 30

log = logging.getLogger(__name__)


class FirestoreServer:
    """State is kept in `database_path`, whose folder is made when it is missing."""

    def __init__(
        self,
        database_path: Path,
        faults: FaultBook,
        settings: Settings | None = None,
        indexes_file: Path = INDEXES_FILE,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._path = database_path
        self._faults = faults
        self._settings = settings or Settings()
        self._indexes_file = indexes_file
        self._wall = wall
        self._server: GrpcServer | None = None
        self._databases: Databases | None = None
        self._upkeep: asyncio.Task[None] | None = None

    async def start(self, port: int = 0) -> int:
        """Listen on the loopback interface; 0 takes a free port. Returns the port.

        Raises ValueError when the indexes' file cannot be understood.
        """
        self._databases = Databases(self._path, IndexBook(self._indexes_file), self._settings, self._wall)
        transport: Any = FirestoreGrpcTransport
        self._server = GrpcServer((StandIn("firestore", transport, Firestore(self._databases), self._faults),))
        bound = await self._server.start(port)
        self._upkeep = asyncio.create_task(self._keep_up(self._databases))
        return bound

    async def stop(self, grace_seconds: float = 0.2) -> None:
        """Refuse new calls, give the running ones the grace (listeners never end by themselves), close the file."""
        if self._server is None or self._databases is None or self._upkeep is None:
            return
        self._upkeep.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._upkeep
        await self._server.stop(grace_seconds)
        self._databases.close()
        self._server = self._databases = self._upkeep = None

    async def maintain(self) -> int:
        """What is done now and then: end old transactions, forget old versions, delete what has expired.

        Returns how many documents were deleted.
        """
        if self._databases is None:
            return 0
        self._databases.expire_transactions()
        self._databases.forget()
        return await self._databases.delete_expired()

    async def _keep_up(self, databases: Databases) -> None:
        rounds = 0
        while True:
            await asyncio.sleep(_ROUND_SECONDS)
            rounds += 1
            try:
                databases.expire_transactions()
                if rounds % _SLOW_ROUNDS == 0:
                    await self.maintain()
            except Exception:
                log.exception("the upkeep of firestore failed and will be tried again")


def settings_from_environment(environment: Mapping[str, str]) -> Settings:
    """FIRESTORE_DATABASES, ids separated by commas beside `(default)`; FIRESTORE_TTL_LAG_SECONDS (a day).

    Raises ValueError when the lag is no number of seconds.
    """
    named = {name.strip() for name in environment.get("FIRESTORE_DATABASES", "").split(",")} - {""}
    raw = environment.get("FIRESTORE_TTL_LAG_SECONDS") or str(TTL_LAG_SECONDS)
    try:
        lag = float(raw)
    except ValueError:
        lag = -1.0
    if not lag >= 0:
        raise ValueError(f"FIRESTORE_TTL_LAG_SECONDS={raw} is not a number of seconds.")
    return Settings(databases=frozenset(named | {names.DEFAULT_DATABASE}), ttl_lag_seconds=lag)
