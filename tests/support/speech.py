"""Speech stand-ins under test: running servers, the official clients against them, clips and what is said in them."""

from __future__ import annotations

import contextlib
import io
import json
import re
import wave
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import grpc.aio
import numpy as np
import numpy.typing as npt
from google.cloud import speech_v2 as speech
from google.cloud import texttospeech_v1 as texttospeech
from google.cloud.speech_v2.services.speech.transports import SpeechGrpcAsyncIOTransport
from google.cloud.texttospeech_v1.services.text_to_speech.transports import TextToSpeechGrpcAsyncIOTransport

from local.faults import FaultBook
from local.quotas import Quotas
from local.speech.server import Engines, speech_server
from local.speech.synthesizer import IDLE_SECONDS

VOICES = Path(__file__).resolve().parent.parent / "data" / "voices"
TRANSCRIPTS: dict[str, str] = json.loads((VOICES / "transcripts.json").read_text(encoding="utf-8"))
RECOGNIZER = "projects/oprina-local/locations/us/recognizers/_"
VOICE = "en-US-Chirp3-HD-Aoede"
SECONDS = 20.0
# as the clients open their own channels
UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))

Samples = npt.NDArray[np.float32]
# FFmpeg's file format, codec and rate, and the file's own options: as browsers and phones record
RECORDINGS: dict[str, tuple[str, str, int, dict[str, str]]] = {
    "wav": ("wav", "pcm_s16le", 16_000, {}),
    "wav, mu-law": ("wav", "pcm_mulaw", 8_000, {}),
    "flac": ("flac", "flac", 16_000, {}),
    "mp3": ("mp3", "libmp3lame", 44_100, {}),
    "ogg, opus (Firefox)": ("ogg", "libopus", 48_000, {}),
    "webm, opus": ("webm", "libopus", 48_000, {}),
    "webm, opus, live (Chrome)": ("webm", "libopus", 48_000, {"live": "1"}),
    "m4a, aac (iPhone)": ("ipod", "aac", 44_100, {}),
    "mp4, aac, fragmented (Safari)": ("mp4", "aac", 44_100, {"movflags": "frag_keyframe+empty_moov"}),
}


@dataclass
class Speech:
    """One running server with both clients."""

    port: int
    hearing: speech.SpeechAsyncClient
    speaking: texttospeech.TextToSpeechAsyncClient
    faults: FaultBook


@contextlib.asynccontextmanager
async def running_speech(
    both: Engines,
    folder: Path,
    *,
    hearing_quotas: Quotas | None = None,
    speaking_quotas: Quotas | None = None,
    idle_seconds: float = IDLE_SECONDS,
) -> AsyncIterator[Speech]:
    """Serve on a free port; the faults are in `folder`."""
    faults = FaultBook(folder / "faults.json")
    server = speech_server(
        both, faults, hearing_quotas=hearing_quotas, speaking_quotas=speaking_quotas, idle_seconds=idle_seconds
    )
    port = await server.start()
    try:
        async with clients(port) as (hearing, speaking):
            yield Speech(port, hearing, speaking, faults)
    finally:
        await server.stop(0)


@contextlib.asynccontextmanager
async def clients(
    port: int,
) -> AsyncIterator[tuple[speech.SpeechAsyncClient, texttospeech.TextToSpeechAsyncClient]]:
    """Google's own clients against a stand-in on this port."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=UNLIMITED) as channel:
        yield (
            speech.SpeechAsyncClient(transport=SpeechGrpcAsyncIOTransport(channel=channel)),
            texttospeech.TextToSpeechAsyncClient(transport=TextToSpeechGrpcAsyncIOTransport(channel=channel)),
        )


def recognition(**changes: Any) -> speech.RecognitionConfig:
    """A good configuration; `changes` replace its fields."""
    good: dict[str, Any] = {
        "auto_decoding_config": {},
        "language_codes": ["en-US"],
        "model": "chirp_3",
    }
    return speech.RecognitionConfig({key: value for key, value in (good | changes).items() if value is not None})


def recognize(content: bytes, recognizer: str = RECOGNIZER, **changes: Any) -> speech.RecognizeRequest:
    return speech.RecognizeRequest(recognizer=recognizer, config=recognition(**changes), content=content)


async def heard(client: speech.SpeechAsyncClient, content: bytes, **changes: Any) -> str:
    """What the service heard in a clip, as one text."""
    answer = await client.recognize(request=recognize(content, **changes), timeout=SECONDS)
    return " ".join(result.alternatives[0].transcript for result in answer.results)


def human(name: str) -> bytes:
    """A WAV file of a human voice."""
    return (VOICES / name).read_bytes()


def samples_of(content: bytes, rate: int = 16_000) -> Samples:
    """Decode any file to mono samples at `rate`."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    with av.open(io.BytesIO(content), "r") as file:
        frames = [part for frame in [*file.decode(audio=0), None] for part in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.float32)


def wav(samples: Samples, rate: int = 16_000) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def recorded(samples: Samples, kind: str) -> bytes:
    """16 kHz samples as one of `RECORDINGS`."""
    form, codec, rate, options = RECORDINGS[kind]
    out = io.BytesIO()
    with av.open(out, "w", format=form, options=options) as file:
        stream: Any = file.add_stream(codec, rate=rate)
        stream.layout = "mono"
        stream.codec_context.open()
        resampler = av.AudioResampler(
            format=stream.codec_context.format.name,
            layout="mono",
            rate=rate,
            frame_size=stream.codec_context.frame_size or None,
        )
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate = 16_000
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return out.getvalue()


def tone(seconds: float, rate: int = 16_000, hertz: float = 330.0) -> Samples:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def silence(seconds: float, rate: int = 16_000) -> Samples:
    return np.zeros(round(seconds * rate), np.float32)


_NUMERALS = {"4": "four", "5": "five", "7": "seven", "8": "eight", "10": "ten", "55": "five five"}


def words(text: str) -> str:
    """Lower case, no punctuation, numerals in words, British spellings in American ones."""
    plain = re.sub(r"[^a-z0-9' ]", " ", text.lower()).split()
    spelled = " ".join(_NUMERALS.get(word, word) for word in plain)
    return spelled.replace("centre", "center").replace("metres", "meters")


def said(texts: Iterable[str], *, encoding: str = "PCM", voice: str = VOICE, **audio: Any) -> list[Any]:
    """The messages of a synthesis stream: the configuration, then one for each text."""
    config = texttospeech.StreamingSynthesizeConfig(
        {
            "voice": {"language_code": voice[:5], "name": voice},
            "streaming_audio_config": {"audio_encoding": encoding, **audio},
        }
    )
    return [texttospeech.StreamingSynthesizeRequest(streaming_config=config), *(spoken(text) for text in texts)]


def spoken(text: str) -> texttospeech.StreamingSynthesizeRequest:
    return texttospeech.StreamingSynthesizeRequest({"input": {"text": text}})


async def stream_of(messages: Iterable[Any]) -> AsyncIterator[Any]:
    """Messages as a client sends them."""
    for message in messages:
        yield message


async def synthesized(client: texttospeech.TextToSpeechAsyncClient, messages: Iterable[Any]) -> list[bytes]:
    """The pieces of audio that a synthesis stream answers with."""
    answers = await client.streaming_synthesize(requests=stream_of(messages), timeout=SECONDS)
    return [answer.audio_content async for answer in answers]
