"""StreamingRecognize: audio that arrives while it is being heard.

The engine hears whole clips, so a stream is cut where nobody speaks: each utterance is heard when it has ended
(`is_final`) and, if the client wants interim results, while it lasts.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import grpc
import numpy as np
from google.cloud.speech_v2 import types

from local.refusals import Refusal, invalid
from local.speech.decoding import TooLongError, UndecodableError, decode_samples
from local.speech.hearing import SAMPLE_RATE, Clip, Ear, Samples
from local.speech.recognition_answers import duration, metadata, streaming_result
from local.speech.recognition_config import Wish, read_wish, recognizer_location

MAX_MESSAGE_AUDIO_BYTES: Final = 25_600
MAX_STREAM_SECONDS: Final = 305
IDLE_SECONDS: Final = 10.0
LONGEST_UTTERANCE_SECONDS: Final = 28.0
_PAUSE_BETWEEN_LOOKS_SECONDS: Final = 0.2
_KEPT_SILENCE_SECONDS: Final = 0.5

_Features = types.StreamingRecognitionFeatures
_Sensitivity = _Features.EndpointingSensitivity
_Event = types.StreamingRecognizeResponse.SpeechEventType
_END_SILENCE_SECONDS: Final = {
    _Sensitivity.ENDPOINTING_SENSITIVITY_SHORT: 0.5,
    _Sensitivity.ENDPOINTING_SENSITIVITY_SUPERSHORT: 0.3,
}
_STANDARD_END_SILENCE_SECONDS: Final = 0.8


@dataclass(frozen=True)
class _Plan:
    """What the first message of a stream asks for. Timeouts are None where the client set none."""

    wish: Wish
    interim: bool
    events: bool
    end_silence_seconds: float
    start_timeout_seconds: float | None
    end_timeout_seconds: float | None


async def listen(ear: Ear, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Answer one StreamingRecognize call.

    Raises:
        Refusal: INVALID_ARGUMENT for messages out of order or too large and for audio that cannot be decoded; ABORTED
            when nothing arrives for `IDLE_SECONDS`; OUT_OF_RANGE for a stream longer than `MAX_STREAM_SECONDS`.
    """
    plan = await _plan(requests)
    inbox = _Inbox(requests)
    reading = asyncio.create_task(inbox.read())
    try:
        async for response in _Hearing(ear, plan, inbox).responses():
            yield response
    finally:
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading


async def _plan(requests: AsyncIterator[Any]) -> _Plan:
    first = await _next(requests)
    if first is None or "streaming_config" not in first:
        raise invalid("The first message of a stream must hold a recognizer and a streaming_config, and no audio.")
    location = recognizer_location(first.recognizer)
    features = first.streaming_config.streaming_features
    timeouts = features.voice_activity_timeout
    if "voice_activity_timeout" in features and not features.enable_voice_activity_events:
        raise invalid("voice_activity_timeout needs enable_voice_activity_events to be true.")
    return _Plan(
        wish=read_wish(first.streaming_config.config, location),
        interim=features.interim_results,
        events=features.enable_voice_activity_events,
        end_silence_seconds=_END_SILENCE_SECONDS.get(features.endpointing_sensitivity, _STANDARD_END_SILENCE_SECONDS),
        start_timeout_seconds=_seconds(timeouts, "speech_start_timeout"),
        end_timeout_seconds=_seconds(timeouts, "speech_end_timeout"),
    )


def _seconds(timeouts: Any, name: str) -> float | None:
    seconds: float | None = getattr(timeouts, name).total_seconds() if name in timeouts else None
    return seconds


async def _next(requests: AsyncIterator[Any]) -> Any | None:
    try:
        return await asyncio.wait_for(anext(requests), IDLE_SECONDS)
    except StopAsyncIteration:
        return None
    except TimeoutError:
        raise Refusal(grpc.StatusCode.ABORTED, "Stream timed out after receiving no more client requests.") from None


class _Inbox:
    """The audio that has arrived so far, read beside the hearing."""

    def __init__(self, requests: AsyncIterator[Any]) -> None:
        self._requests = requests
        self._audio = bytearray()
        self._changed = asyncio.Event()
        self._refusal: Refusal | None = None
        self.ended = False

    async def read(self) -> None:
        try:
            while (request := await _next(self._requests)) is not None:
                self._audio += _audio(request)
                self._changed.set()
        except Refusal as refusal:
            self._refusal = refusal
        self.ended = True
        self._changed.set()

    async def changed(self) -> bytes:
        """Everything that arrived, once there is more than before or the client has ended; raise what was wrong."""
        await self._changed.wait()
        if not self.ended:
            self._changed.clear()
        if self._refusal is not None:
            raise self._refusal
        return bytes(self._audio)


def _audio(request: Any) -> bytes:
    if "streaming_config" in request:
        raise invalid("Only the first message of a stream may hold a streaming_config; all others hold audio.")
    audio: bytes = request.audio
    if len(audio) > MAX_MESSAGE_AUDIO_BYTES:
        raise invalid(f"Audio chunk can be of a maximum of {MAX_MESSAGE_AUDIO_BYTES} bytes in size.")
    return audio


class _Hearing:
    """Cuts the arriving audio into utterances and answers them. Offsets count samples from the stream's start."""

    def __init__(self, ear: Ear, plan: _Plan, inbox: _Inbox) -> None:
        self._ear = ear
        self._plan = plan
        self._inbox = inbox
        self._samples: Samples = np.zeros(0, np.float32)
        self._settled = 0
        self._speaking = False
        self._last_speech_seconds: float | None = None
        self._closed = False

    async def responses(self) -> AsyncIterator[Any]:
        while not self._closed:
            content = await self._inbox.changed()
            looked, ended = time.monotonic(), self._inbox.ended
            await self._decode(content, ended)
            async for response in self._look(content, ended):
                yield response
            if ended:
                break
            await asyncio.sleep(max(0.0, looked + _PAUSE_BETWEEN_LOOKS_SECONDS - time.monotonic()))
        yield types.StreamingRecognizeResponse(metadata=metadata(len(self._samples) / SAMPLE_RATE))

    async def _decode(self, content: bytes, ended: bool) -> None:
        try:
            self._samples = await asyncio.to_thread(decode_samples, content, self._plan.wish.form, MAX_STREAM_SECONDS)
        except TooLongError:
            sentence = f"Exceeded maximum allowed stream duration of {MAX_STREAM_SECONDS} seconds."
            raise Refusal(grpc.StatusCode.OUT_OF_RANGE, sentence) from None
        except UndecodableError as error:
            # the first bytes of a container hold no sound yet
            if content and (ended or len(content) > MAX_MESSAGE_AUDIO_BYTES):
                raise invalid(str(error)) from None

    async def _look(self, content: bytes, ended: bool) -> AsyncIterator[Any]:
        while not self._closed:
            rest = self._samples[self._settled :]
            spans = await self._ear.speech(rest) if rest.size else []
            if not spans:
                self._skip_silence(rest)
                break
            if not self._speaking:
                self._speaking = True
                for event in self._event(_Event.SPEECH_ACTIVITY_BEGIN, spans[0][0]):
                    yield event
            end = self._end_of_utterance(spans, rest.size / SAMPLE_RATE, ended)
            if end is None:
                if self._plan.interim:
                    async for response in self._hear(rest, content, final=False):
                        yield response
                break
            cut = rest[: round(end * SAMPLE_RATE)]
            async for response in self._hear(cut, content, final=True):
                yield response
            for event in self._event(_Event.SPEECH_ACTIVITY_END, end):
                yield event
            self._speaking = False
            self._settled += cut.size
            self._last_speech_seconds = self._settled / SAMPLE_RATE
        self._close_when_timed_out()

    def _end_of_utterance(self, spans: list[tuple[float, float]], seconds: float, ended: bool) -> float | None:
        """Where the first utterance ends, in seconds; None while it may go on."""
        starts = [start for start, _ in spans[1:]] + [seconds]
        for (_, end), following in zip(spans, starts, strict=True):
            if following - end >= self._plan.end_silence_seconds:
                return min(end + self._plan.end_silence_seconds / 2, seconds)
        return seconds if ended or seconds >= LONGEST_UTTERANCE_SECONDS else None

    async def _hear(self, samples: Samples, content: bytes, *, final: bool) -> AsyncIterator[Any]:
        clip = Clip(samples, hashlib.sha256(content).hexdigest())
        heard = await self._ear.hear(clip, words=self._plan.wish.words and final)
        offset = self._settled / SAMPLE_RATE
        for item in heard:
            yield types.StreamingRecognizeResponse(
                results=[streaming_result(item, self._plan.wish, offset, final=final)]
            )

    def _event(self, kind: Any, seconds: float) -> list[Any]:
        if not self._plan.events:
            return []
        offset = duration(self._settled / SAMPLE_RATE + seconds)
        return [types.StreamingRecognizeResponse(speech_event_type=kind, speech_event_offset=offset)]

    def _skip_silence(self, rest: Samples) -> None:
        self._settled += max(0, rest.size - round(_KEPT_SILENCE_SECONDS * SAMPLE_RATE))

    def _close_when_timed_out(self) -> None:
        if self._speaking:
            return
        now = len(self._samples) / SAMPLE_RATE
        spoken = self._last_speech_seconds
        timeout = self._plan.start_timeout_seconds if spoken is None else self._plan.end_timeout_seconds
        if timeout is not None and now - (spoken or 0.0) >= timeout:
            self._closed = True
