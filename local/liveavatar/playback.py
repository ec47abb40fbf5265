"""What the avatar says: chunks of PCM, spoken in real time, one utterance after the other.

Audio is raw s16le at 24 kHz, mono; so many bytes are so many seconds. The wrong format is garbled without an error.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, Final

BYTES_PER_SECOND: Final = 48_000
# So long the avatar waits for the next chunk before it says that it starves.
STARVES_AFTER_SECONDS: Final = 0.25

Emit = Callable[..., None]


class _Utterance:
    """From a first chunk to its end. The same id need not be on every chunk: some clients number them one by one."""

    def __init__(self, first_id: str) -> None:
        self.id = first_id
        self.seconds = 0.0
        self.complete = False
        self.changed = asyncio.Event()

    def append(self, audio: bytes) -> None:
        self.seconds += len(audio) / BYTES_PER_SECOND
        self.changed.set()

    def end(self) -> None:
        self.complete = True
        self.changed.set()


class Playback:
    """Speaks what is appended. `emit(type, source_event_id=…, **fields)` sends an event to the client."""

    def __init__(self, emit: Emit, first_frame_seconds: float) -> None:
        self._emit = emit
        self._first_frame_seconds = first_frame_seconds
        self._waiting: deque[_Utterance] = deque()
        self._more = asyncio.Event()
        self._open: _Utterance | None = None
        self._speaking: _Utterance | None = None
        self._player: asyncio.Task[None] | None = None
        self.state = "idle"

    def begin(self) -> None:
        self._emit("agent.idle_started")
        self._player = asyncio.create_task(self._play())

    async def close(self) -> None:
        if self._player is not None:
            self._player.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._player

    def abandon(self) -> None:
        """Stop in the middle, without a word."""
        if self._player is not None:
            self._player.cancel()

    def append(self, event_id: str, audio: bytes) -> None:
        if self._open is None:
            self._open = _Utterance(event_id)
            self._waiting.append(self._open)
            self._more.set()
        self._open.append(audio)
        self._emit("agent.audio_buffer_appended", source_event_id=event_id)

    def end(self, event_id: str) -> bool:
        """End the utterance that is being sent. Returns whether there was one."""
        if self._open is None:
            return False
        self._open.end()
        self._open = None
        self._emit("agent.audio_buffer_committed", source_event_id=event_id)
        return True

    def interrupt(self, event_id: str) -> None:
        """Forget everything that was sent so far, and fall silent."""
        spoken, self._speaking = self._speaking, None
        self._waiting.clear()
        self._open = None
        if self._player is not None:
            self._player.cancel()
        self._emit("agent.audio_buffer_cleared", source_event_id=event_id)
        if spoken is not None:
            self._emit("agent.speak_interrupted", source_event_id=event_id, task={"id": spoken.id})
            self._fall_silent()
        self._player = asyncio.create_task(self._play())

    def turn_to(self, state: str) -> None:
        """Be idle, listen or talk. While it talks it does not listen."""
        if state != self.state:
            previous, self.state = self.state, state
            self._emit("agent.state_updated", previous_state=previous, new_state=state)

    def _fall_silent(self) -> None:
        self.turn_to("idle")
        self._emit("agent.idle_started")

    async def _play(self) -> None:
        while True:
            while not self._waiting:
                self._more.clear()
                await self._more.wait()
            utterance = self._waiting.popleft()
            await asyncio.sleep(self._first_frame_seconds)
            self._speaking = utterance
            self._emit("agent.idle_ended")
            self.turn_to("talking")
            self._emit("agent.speak_started", source_event_id=utterance.id, task={"id": utterance.id})
            await self._say(utterance)
            self._speaking = None
            self._emit("agent.speak_ended", source_event_id=utterance.id, task={"id": utterance.id})
            self._fall_silent()

    async def _say(self, utterance: _Utterance) -> None:
        """Return when everything has been spoken and nothing more will come."""
        clock = asyncio.get_running_loop().time
        began = clock()
        while True:
            left = began + utterance.seconds - clock()
            if left <= 0 and utterance.complete:
                return
            if left > 0:
                await asyncio.sleep(left)
                continue
            ran_out = clock()
            await self._wait_for_more(utterance)
            began += clock() - ran_out

    async def _wait_for_more(self, utterance: _Utterance) -> None:
        said = utterance.seconds
        starved = False
        while utterance.seconds == said and not utterance.complete:
            utterance.changed.clear()
            try:
                await asyncio.wait_for(utterance.changed.wait(), None if starved else STARVES_AFTER_SECONDS)
            except TimeoutError:
                starved = True
                self._emit("error", error=problem("video_starvation", "Audio arrives too slowly.", utterance.id))


def problem(kind: str, message: str, event_id: str | None) -> dict[str, Any]:
    """The inside of an `error` event."""
    return {"type": kind, "message": message, "event_id": event_id}
