"""Who is connected to which session's WebSocket, and that each is told when the session ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator
from typing import Final

from starlette.responses import Response
from starlette.websockets import WebSocket

from local.faults import FaultBook
from local.liveavatar.account import STAND_IN, Account
from local.liveavatar.lite import LiteConnection
from local.liveavatar.metering import MAX_DURATION_REACHED, Session
from local.liveavatar.refusals import failure, not_authorized

SOCKET_METHOD: Final = "websocket"
LOOK_EVERY_SECONDS: Final = 0.2
# A chunk of sound a second is a sign of life, and not worth a write to disk each.
_NOTED_EVERY_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


class Stage:
    def __init__(self, account: Account, faults: FaultBook) -> None:
        self._account = account
        self._faults = faults
        self._connections: dict[str, LiteConnection] = {}
        self._noted: dict[str, float] = {}
        account.when_a_session_ends(self._session_ended)

    async def connect(self, websocket: WebSocket) -> None:
        """Serve a session's WebSocket. A second client takes the place of the first."""
        session_id = websocket.path_params["session_id"]
        fault = self._faults.for_call(STAND_IN, SOCKET_METHOD)
        await asyncio.sleep(fault.delay_ms / 1000)
        if fault.should_fail():
            await _deny(websocket, failure(fault, websocket.scope))
            return
        if self._account.of_socket(session_id, websocket.query_params.get("token", "")) is None:
            await _deny(websocket, not_authorized().response())
            return
        connection = LiteConnection(
            websocket,
            fault,
            lambda: self._note(session_id),
            connect_seconds=self._account.get("connect_ms") / 1000,
            first_frame_seconds=self._account.get("first_frame_ms") / 1000,
        )
        before, self._connections[session_id] = self._connections.get(session_id), connection
        if before is not None:
            before.end()
        try:
            await connection.serve()
        finally:
            if self._connections.get(session_id) is connection:
                del self._connections[session_id]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While this is open, sessions end and minutes are charged when their time comes, looked at or not."""
        watch = asyncio.create_task(self._watch(), name="liveavatar sessions")
        try:
            yield
        finally:
            watch.cancel()
            for connection in list(self._connections.values()):
                connection.end()

    def _note(self, session_id: str) -> bool:
        session = self._account.session(session_id)
        if session is None or not session.active:
            return False
        now = self._account.now()
        if now - self._noted.get(session_id, 0.0) >= _NOTED_EVERY_SECONDS:
            self._noted[session_id] = now
            self._account.keep_alive(session_id)
        return True

    def _session_ended(self, session: Session) -> None:
        self._noted.pop(session.id, None)
        connection = self._connections.get(session.id)
        if connection is None:
            return
        if session.end_reason == MAX_DURATION_REACHED:
            connection.fall_silent()
        else:
            connection.end()

    async def _watch(self) -> None:
        while True:
            try:
                self._account.settle()
            except sqlite3.Error:
                # A full disk or a lock that lasts: whoever asks next settles what was missed.
                log.exception("sessions could not be settled")
            await asyncio.sleep(LOOK_EVERY_SECONDS)


async def _deny(websocket: WebSocket, response: Response) -> None:
    await websocket.send_denial_response(response)
