"""Text-to-Speech v1 (google.cloud.texttospeech.v1.TextToSpeech): ListVoices, SynthesizeSpeech and StreamingSynthesize.

Limits: https://cloud.google.com/text-to-speech/quotas; ranges: the fields' descriptions in the client's types.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import numpy as np
from google.cloud.texttospeech_v1 import types

from local.refusals import Refusal, invalid
from local.speech import encoding, voices
from local.speech.encoding import Encoder, Form
from local.speech.sentences import take_sentences
from local.speech.speaking import SAMPLE_RATE, Mouth, Samples

MAX_INPUT_BYTES: Final = 5000
IDLE_SECONDS: Final = 5.0
MIN_RATE, MAX_RATE = 0.25, 2.0
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 8_000, 48_000
MIN_GAIN_DB, MAX_GAIN_DB = -96.0, 16.0
MAX_CHUNK_BYTES: Final = 16 * 1024
# the first piece of a stream is small, so that it leaves at once; the others are larger
_FIRST_PIECE: Final = SAMPLE_RATE // 5
_PIECE: Final = SAMPLE_RATE // 2

_Encoding = types.AudioEncoding
_WHOLE_FORMS: Final = {
    _Encoding.LINEAR16: encoding.WAV,
    _Encoding.MP3: encoding.MP3,
    _Encoding.OGG_OPUS: encoding.OGG_OPUS,
    _Encoding.MULAW: encoding.MULAW_FILE,
    _Encoding.ALAW: encoding.ALAW_FILE,
    _Encoding.PCM: encoding.PCM,
    _Encoding.M4A: encoding.M4A,
}
_STREAM_FORMS: Final = {
    _Encoding.PCM: encoding.PCM,
    _Encoding.OGG_OPUS: encoding.OGG_OPUS,
    _Encoding.MULAW: encoding.MULAW,
    _Encoding.ALAW: encoding.ALAW,
}
_MARKUP: Final = re.compile(r"\[pause(?: short| long)?\]")


class Synthesizer:
    """The TextToSpeech API over one engine."""

    def __init__(self, mouth: Mouth, idle_seconds: float = IDLE_SECONDS) -> None:
        """`idle_seconds`: how long a stream may wait for its next input."""
        self._mouth = mouth
        self._idle_seconds = idle_seconds

    async def ListVoices(self, request: Any) -> Any:  # noqa: N802 - named by the API
        return types.ListVoicesResponse(voices=voices.listed(request.language_code))

    async def SynthesizeSpeech(self, request: Any) -> Any:  # noqa: N802 - named by the API
        text = _text(request.input)
        voices.check(request.voice, streaming=False)
        config = request.audio_config
        encoder = _encoder(config, _WHOLE_FORMS, "audio_config")
        rate, gain = _rate(config), _gain(config)
        parts = [part async for part in self._mouth.speak(text, rate)]
        samples = np.concatenate(parts) * gain if parts else np.zeros(0, np.float32)
        return types.SynthesizeSpeechResponse(audio_content=await asyncio.to_thread(_whole, encoder, samples))

    async def StreamingSynthesize(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:  # noqa: N802 - named by the API
        encoder, rate = self._open(await self._next(requests))
        rest, first = "", True
        while (request := await self._next(requests)) is not None:
            sentences, rest = take_sentences(rest + _streamed_text(request))
            for sentence in sentences:
                async for chunk in self._spoken(sentence, rate, encoder, first):
                    yield types.StreamingSynthesizeResponse(audio_content=chunk)
                    first = False
        if rest.strip():
            async for chunk in self._spoken(rest, rate, encoder, first):
                yield types.StreamingSynthesizeResponse(audio_content=chunk)
        for chunk in _chunks(await asyncio.to_thread(encoder.finish)):
            yield types.StreamingSynthesizeResponse(audio_content=chunk)

    async def _spoken(self, text: str, rate: float, encoder: Encoder, first: bool) -> AsyncIterator[bytes]:
        async for samples in self._mouth.speak(text, rate):
            start, size = 0, _FIRST_PIECE if first else _PIECE
            while start < samples.size:
                for chunk in _chunks(await asyncio.to_thread(encoder.feed, samples[start : start + size])):
                    yield chunk
                start, size, first = start + size, _PIECE, False
        for chunk in _chunks(await asyncio.to_thread(encoder.pause)):
            yield chunk

    async def _next(self, requests: AsyncIterator[Any]) -> Any | None:
        try:
            return await asyncio.wait_for(anext(requests), self._idle_seconds)
        except StopAsyncIteration:
            return None
        except TimeoutError:
            raise Refusal(
                grpc.StatusCode.ABORTED,
                "Stream aborted due to long duration elapsed without input sent. Please make sure the client sends an "
                f"input or half-closes the stream within {self._idle_seconds:g} seconds.",
            ) from None

    def _open(self, request: Any | None) -> tuple[Encoder, float]:
        if request is None or "streaming_config" not in request:
            raise invalid("The first message of a stream must hold a streaming_config and no input.")
        config = request.streaming_config
        voices.check(config.voice, streaming=True)
        audio = config.streaming_audio_config
        if not audio.audio_encoding:
            # the service streams linear samples to clients that ask for nothing
            audio.audio_encoding = _Encoding.PCM
        return _encoder(audio, _STREAM_FORMS, "streaming_audio_config"), _rate(audio)


def _text(wish: Any) -> str:
    if "ssml" in wish:
        raise invalid("This voice does not support SSML input. Please use a text or markup input.")
    text: str = _MARKUP.sub(" ", wish.markup) if "markup" in wish else wish.text
    if len(text.encode()) > MAX_INPUT_BYTES:
        raise invalid(
            f"Either `input.text` or `input.ssml` is longer than the limit of {MAX_INPUT_BYTES} bytes. "
            "This limit is different from quotas. To fix, reduce the byte length of the characters in this request."
        )
    if not text.strip():
        raise invalid("Invalid value for field input: a text to speak is needed.")
    return text


def _streamed_text(request: Any) -> str:
    if "input" not in request:
        raise invalid("Only the first message of a stream may hold a streaming_config; all others hold input.")
    text: str = _MARKUP.sub(" ", request.input.markup) if "markup" in request.input else request.input.text
    if len(text.encode()) > MAX_INPUT_BYTES:
        raise invalid(f"The input of one message is longer than the limit of {MAX_INPUT_BYTES} bytes.")
    return text


def _encoder(config: Any, forms: dict[Any, Form], field: str) -> Encoder:
    form = forms.get(config.audio_encoding)
    if form is None:
        known = ", ".join(sorted(encoding.name for encoding in forms))
        raise invalid(f"Invalid value for field {field}.audio_encoding: it must be one of {known}.")
    sample_rate = config.sample_rate_hertz or voices.NATURAL_SAMPLE_RATE
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise invalid(
            f"Invalid value for field {field}.sample_rate_hertz: it must be between {MIN_SAMPLE_RATE} and "
            f"{MAX_SAMPLE_RATE}."
        )
    return form.encoder(sample_rate)


def _rate(config: Any) -> float:
    rate: float = config.speaking_rate or 1.0
    if not MIN_RATE <= rate <= MAX_RATE:
        raise invalid(f"Invalid value for field speaking_rate: it must be between {MIN_RATE} and {MAX_RATE}.")
    return rate


def _gain(config: Any) -> float:
    if config.pitch:
        raise invalid("This voice does not support pitch parameters at this time.")
    if not MIN_GAIN_DB <= config.volume_gain_db <= MAX_GAIN_DB:
        raise invalid(f"Invalid value for field volume_gain_db: it must be between {MIN_GAIN_DB} and {MAX_GAIN_DB}.")
    gain: float = 10 ** (config.volume_gain_db / 20)
    return gain


def _whole(encoder: Encoder, samples: Samples) -> bytes:
    fed = encoder.feed(samples.astype(np.float32)) if samples.size else b""
    return fed + encoder.finish()


def _chunks(data: bytes) -> list[bytes]:
    return [data[start : start + MAX_CHUNK_BYTES] for start in range(0, len(data), MAX_CHUNK_BYTES)]
