"""The WebSocket of a LITE session: JSON text frames, as https://docs.liveavatar.com/docs/custom-mode-events says.

Answers carry an id of their own and the client's in `source_event_id`. Commands before `connected` are dropped without
a word, pings are never answered, and a frame of more than 1 MB closes the connection with 1009.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
from collections.abc import Callable
from typing import Any, Final
from uuid import uuid4

from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from local.faults import Fault
from local.liveavatar.playback import Playback, problem

NORMAL: Final = 1000
INTERNAL_ERROR: Final = 1011
_PONG: Final = 0x8A
_TALKATIVE: Final = frozenset({"agent.start_listening", "agent.stop_listening"})


class PongsWithheld(WebSocketsSansIOProtocol):
    """Takes pings and never answers them: a client that insists closes with 1011, as against the provider."""

    def handle_ping(self) -> None:
        output = [frame for frame in self.conn.data_to_send() if frame[:1] != bytes([_PONG])]
        self.transport.write(b"".join(output))


class LiteConnection:
    """One client at one session's WebSocket."""

    def __init__(
        self,
        websocket: WebSocket,
        fault: Fault,
        seen: Callable[[], bool],
        *,
        connect_seconds: float,
        first_frame_seconds: float,
    ) -> None:
        """`seen` notes a sign of life, and says whether the session still runs."""
        self._websocket = websocket
        self._fault = fault
        self._seen = seen
        self._connect_seconds = connect_seconds
        self._outbox: asyncio.Queue[str | None] = asyncio.Queue()
        self._playback = Playback(self.emit, first_frame_seconds)
        self._connected = False
        self._frames = 0
        self._over = asyncio.Event()
        self._close_code = NORMAL

    async def serve(self) -> None:
        """Return when the connection has ended, from whichever side."""
        await self._websocket.accept()
        works = [asyncio.create_task(work) for work in (self._open(), self._send(), self._receive())]
        over = asyncio.create_task(self._over.wait())
        await asyncio.wait({over, works[1], works[2]}, return_when=asyncio.FIRST_COMPLETED)
        await self._playback.close()
        if self._over.is_set():
            await self._say_goodbye(works[1])
        for work in (*works, over):
            work.cancel()
        await asyncio.gather(*works, over, return_exceptions=True)

    def end(self, code: int = NORMAL) -> None:
        """Say that the session is closed, and close."""
        self._close_code = code
        self._over.set()

    def fall_silent(self) -> None:
        """What the provider does at a session's longest duration: nothing any more, and the line stays open."""
        self._playback.abandon()

    def emit(self, kind: str, source_event_id: str | None = None, **fields: Any) -> None:
        event = {"type": kind, "event_id": str(uuid4()), **fields}
        if source_event_id is not None:
            event["source_event_id"] = source_event_id
        frame = "It works!" if self._fault.nonsense else json.dumps(event)
        for _ in range(2 if self._fault.duplicate else 1):
            self._outbox.put_nowait(frame)

    async def _open(self) -> None:
        self.emit("session.state_updated", state="connecting")
        await asyncio.sleep(self._connect_seconds)
        if self._fault.silent:
            return
        self._connected = True
        self.emit("session.state_updated", state="connected")
        self._playback.begin()

    async def _send(self) -> None:
        while (frame := await self._outbox.get()) is not None:
            try:
                await self._websocket.send_text(frame)
            except (WebSocketDisconnect, RuntimeError):
                return

    async def _receive(self) -> None:
        while True:
            try:
                message = await self._websocket.receive()
            except RuntimeError:
                return
            if message["type"] == "websocket.disconnect":
                return
            if self._connected:
                self._take(message.get("text"))

    async def _say_goodbye(self, sending: asyncio.Task[None]) -> None:
        if self._close_code == NORMAL:
            self.emit("session.state_updated", state="closing")
            self.emit("session.state_updated", state="closed")
        self._outbox.put_nowait(None)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(sending, 2)
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await self._websocket.close(self._close_code)

    def _take(self, text: str | None) -> None:
        try:
            command = json.loads(text or "")
            kind, event_id = command["type"], command.get("event_id")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._refuse("The frame is not a JSON object with a type.", None)
            return
        if not self._seen():
            # Beyond its longest duration the provider neither closes nor says a word; it only stops to speak.
            return
        self._frames += 1
        if self._fault.lose_answer and self._frames > self._fault.spare:
            self.end(INTERNAL_ERROR)
            return
        self._obey(str(kind), command, str(event_id) if event_id is not None else str(uuid4()))

    def _obey(self, kind: str, command: dict[str, Any], event_id: str) -> None:
        if kind == "agent.speak":
            self._speak(command.get("audio"), event_id)
        elif kind == "agent.speak_end":
            self._playback.end(event_id)
        elif kind == "agent.interrupt":
            self._playback.interrupt(event_id)
        elif kind in _TALKATIVE:
            if self._playback.state != "talking":
                self._playback.turn_to("listening" if kind == "agent.start_listening" else "idle")
        elif kind not in {"start", "session.keep_alive"}:
            self._refuse(f"Unknown event type: {kind}", event_id)

    def _speak(self, audio: Any, event_id: str) -> None:
        try:
            sound = base64.b64decode(audio, validate=True) if isinstance(audio, str) else b""
        except (binascii.Error, ValueError):
            sound = b""
        if sound:
            self._playback.append(event_id, sound)
        else:
            self._refuse("audio must be base64 encoded PCM", event_id)

    def _refuse(self, message: str, event_id: str | None) -> None:
        self.emit("error", source_event_id=event_id, error=problem("invalid_request_error", message, event_id))
