"""What a video says, as sound: spoken by the Text-to-Speech stand-in, or hummed where there is none."""

from __future__ import annotations

import asyncio
import importlib
import io
import wave
from pathlib import Path
from typing import Any, Final, Protocol

import av
import numpy as np
import numpy.typing as npt

RATE: Final = 24_000
Samples = npt.NDArray[np.int16]

_SECONDS_PER_CHARACTER: Final = 0.06
_SYLLABLE_SECONDS: Final = 0.18
_HUM_HERTZ: Final = 160.0
_LOUD: Final = 9000
# Without these lists a file may be a playlist, and the library would open what it names.
_READ_ONLY_THESE: Final = {"format_whitelist": "wav,mp3,mov,mp4,m4a,ogg,matroska,webm", "protocol_whitelist": "file"}


class VoiceFailed(Exception):
    """The script could not be spoken."""


class Voice(Protocol):
    async def speak(self, script: str, speed: float) -> Samples:
        """The script as mono samples at `RATE`. Raises VoiceFailed."""


class HummedVoice:
    """A hum as long as the script would take to say, with a beat for each syllable or so."""

    async def speak(self, script: str, speed: float) -> Samples:
        moments = np.arange(max(round(len(script) * _SECONDS_PER_CHARACTER / speed * RATE), RATE // 2)) / RATE
        beat = np.abs(np.sin(np.pi * moments / _SYLLABLE_SECONDS))
        return (_LOUD * beat * np.sin(2 * np.pi * _HUM_HERTZ * moments)).astype(np.int16)


class SpokenVoice:
    """The house's own Text-to-Speech, over its gRPC interface."""

    def __init__(self, address: str, name: str = "en-US-Chirp3-HD-Achernar") -> None:
        """`address` as http://host:port."""
        self._address = address.split("://", 1)[-1]
        self._name = name
        self._client: Any = None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.transport.close()

    async def speak(self, script: str, speed: float) -> Samples:
        # The first time it takes a while, and others are served by the same loop.
        await asyncio.to_thread(importlib.import_module, "google.cloud.texttospeech_v1")
        from google.api_core.exceptions import GoogleAPICallError
        from google.cloud import texttospeech_v1 as texttospeech

        request = {
            "input": {"text": script},
            "voice": {"language_code": "-".join(self._name.split("-")[:2]), "name": self._name},
            "audio_config": {
                "audio_encoding": texttospeech.AudioEncoding.LINEAR16,
                "sample_rate_hertz": RATE,
                "speaking_rate": speed,
            },
        }
        try:
            answer = await self._connected().synthesize_speech(request=request, timeout=600)
        except GoogleAPICallError as error:
            raise VoiceFailed(str(error)) from error
        with wave.open(io.BytesIO(answer.audio_content)) as sound:
            return np.frombuffer(sound.readframes(sound.getnframes()), np.int16)

    def _connected(self) -> Any:
        """The client, made at the first video: a gRPC channel belongs to the loop that is running then."""
        if self._client is None:
            import grpc.aio
            from google.cloud import texttospeech_v1 as texttospeech
            from google.cloud.texttospeech_v1.services.text_to_speech.transports import (
                TextToSpeechGrpcAsyncIOTransport,
            )

            transport = TextToSpeechGrpcAsyncIOTransport(channel=grpc.aio.insecure_channel(self._address))
            self._client = texttospeech.TextToSpeechAsyncClient(transport=transport)
        return self._client


def read_sound(file: Path) -> Samples:
    """Any recording as mono samples at `RATE`. Raises VoiceFailed when there is no sound in it."""
    try:
        with av.open(str(file), options=_READ_ONLY_THESE) as container:
            if not container.streams.audio:
                raise VoiceFailed("There is no sound in this file.")
            resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
            frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
            frames += resampler.resample(None)
    except (av.FFmpegError, ValueError) as error:
        raise VoiceFailed("This file cannot be read.") from error
    if not frames:
        raise VoiceFailed("There is no sound in this file.")
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
