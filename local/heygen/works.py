"""What goes on behind the interface: videos are drawn, and webhooks sent. What was begun goes on after a restart."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

import httpx

from local.faults import FaultBook
from local.heygen import catalogue
from local.heygen.assets import Assets
from local.heygen.database import Database
from local.heygen.drawing import Scene, draw
from local.heygen.models import NewVideo
from local.heygen.settings import MAX_AUDIO_SECONDS, WEBHOOK_DEADLINE_SECONDS
from local.heygen.videos import Videos
from local.heygen.voice import RATE, Samples, Voice, VoiceFailed, read_sound
from local.heygen.webhooks import Delivery, Webhooks

STAND_IN: Final = "heygen"
# The names of what the stand-in does by itself, for the faults.
RENDER: Final = "render"
WEBHOOK: Final = "webhook"
LOOK_EVERY_SECONDS: Final = 0.1
_PALE: Final = (222, 230, 238)
# Drawing takes a core; this many at once leave the rest of the machine something.
_DRAWN_AT_ONCE: Final = 1

log = logging.getLogger(__name__)


class Works:
    def __init__(
        self,
        database: Database,
        videos: Videos,
        webhooks: Webhooks,
        assets: Assets,
        voice: Voice,
        faults: FaultBook,
        now: Callable[[], float],
    ) -> None:
        self._db = database
        self._videos = videos
        self._webhooks = webhooks
        self._assets = assets
        self._voice = voice
        self._faults = faults
        self._now = now
        self._drawing = asyncio.Semaphore(_DRAWN_AT_ONCE)
        self._under_way: dict[str | int, asyncio.Task[None]] = {}
        self._client: httpx.AsyncClient | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While this is open, videos are made and webhooks sent."""
        async with httpx.AsyncClient(timeout=WEBHOOK_DEADLINE_SECONDS, trust_env=False) as self._client:
            loop = asyncio.create_task(self._look(), name="heygen works")
            try:
                yield
            finally:
                tasks = [loop, *self._under_way.values()]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            try:
                self._begin_what_is_due()
            except sqlite3.Error:
                # A full disk or a lock that lasts: what is due stays due.
                log.exception("what is due could not be begun")
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    def _begin_what_is_due(self) -> None:
        self._videos.admit_queued()
        for video_id, asked in self._videos.due():
            self._begin(video_id, self._make(video_id, asked))
        for delivery in self._in_order(self._webhooks.due()):
            self._begin(delivery.ordinal, self._deliver(delivery))

    def _begin(self, key: str | int, work: Coroutine[Any, Any, None]) -> None:
        """Once at a time for each video and each delivery."""
        if key in self._under_way:
            work.close()
            return
        task = asyncio.create_task(work)
        self._under_way[key] = task
        task.add_done_callback(lambda _: self._under_way.pop(key, None))

    async def _make(self, video_id: str, asked: NewVideo) -> None:
        fault = self._faults.for_call(STAND_IN, RENDER)
        await asyncio.sleep(fault.delay_ms / 1000)
        if fault.should_fail():
            self._videos.failed(video_id, asked, "internal_error", fault.says or "This failure was asked for.")
            return
        try:
            seconds = await self._draw(video_id, asked)
        except VoiceFailed as problem:
            code = "voice_provider_error" if asked.script is not None else "download_failed"
            self._videos.failed(video_id, asked, code, str(problem))
        except Exception:
            log.exception("a video could not be drawn")
            self._videos.failed(video_id, asked, "internal_error", "The video could not be drawn.")
        else:
            self._videos.completed(video_id, asked, seconds)

    async def _draw(self, video_id: str, asked: NewVideo) -> float:
        look = catalogue.look(asked.avatar_id)
        assert look is not None
        colour = asked.background.value if asked.background and asked.background.value else None
        red, green, blue = _PALE if colour is None else bytes.fromhex(colour[1:])
        scene = Scene(asked.aspect_ratio, look.colour, (red, green, blue), asked.output_format)
        sound = await self._sound(asked)
        async with self._drawing:
            return await asyncio.to_thread(draw, self._videos.folder(video_id), scene, sound)

    async def _sound(self, asked: NewVideo) -> Samples:
        if asked.script is not None:
            return await self._voice.speak(asked.script, asked.voice_settings.speed)
        assert asked.audio_asset_id is not None
        sound = await asyncio.to_thread(read_sound, self._assets.file(asked.audio_asset_id))
        if len(sound) > MAX_AUDIO_SECONDS * RATE:
            raise VoiceFailed(f"The recording is longer than {MAX_AUDIO_SECONDS} seconds.")
        return sound

    def _in_order(self, due: list[Delivery]) -> list[Delivery]:
        """As they came; with `reorder`, those that have waited for others a little while, newest first."""
        if not due or not self._faults.standing(STAND_IN, WEBHOOK).reorder:
            return due
        waited = [item for item in due if item.due_at + self._db.get("reorder_seconds") <= self._now()]
        return due[::-1] if waited else []

    async def _deliver(self, delivery: Delivery) -> None:
        fault = self._faults.for_call(STAND_IN, WEBHOOK)
        headers = delivery.headers(self._now())
        await asyncio.sleep(fault.delay_ms / 1000)
        if fault.should_fail():
            self._webhooks.record(delivery, f"failed with {fault.http_status} as asked", delivered=False)
            return
        said, delivered = await self._send(delivery, headers)
        if fault.duplicate:
            await self._send(delivery, headers)
        if fault.lose_answer:
            said, delivered = f"{said}; the answer was lost as asked", False
        self._webhooks.record(delivery, said, delivered=delivered)

    async def send_again(self, event_id: str, age_seconds: float) -> list[str]:
        """Send an event's deliveries once more, with the timestamp they had so long ago. Returns what was answered."""
        at = self._now() - age_seconds
        return [(await self._send(item, item.headers(at)))[0] for item in self._webhooks.of_event(event_id)]

    async def _send(self, delivery: Delivery, headers: dict[str, str]) -> tuple[str, bool]:
        assert self._client is not None
        try:
            answer = await self._client.post(delivery.url, content=delivery.body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}: {error}"[:300], False
        return f"answered {answer.status_code}", answer.is_success
