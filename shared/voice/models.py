"""What crosses the boundary of the voice room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

AudioFormat = Literal["ogg_opus", "pcm", "mp3", "wav"]
LanguageCode = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$", max_length=20, strip_whitespace=True)
]

MIME_TYPES: dict[AudioFormat, str] = {
    "ogg_opus": "audio/ogg; codecs=opus",
    "pcm": "audio/pcm; rate=24000; channels=1; encoding=s16le",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
}


@dataclass(frozen=True)
class Clip:
    """A recording as it came, after its container was read: `container` and `codec` are what it really is."""

    data: bytes
    container: str
    codec: str
    duration_seconds: float


class TranscriptWord(BaseModel):
    text: str
    start_ms: int
    end_ms: int


class Transcript(BaseModel):
    """What was heard. `confidence` is between 0 and 1, or null where the provider gives none."""

    text: str
    confidence: float | None
    language: str
    duration_seconds: float


class Transcription(Transcript):
    """The answer of `POST /v1/voice/transcriptions`; `words` only when asked for."""

    words: list[TranscriptWord] | None = None


class SpeechRequest(BaseModel):
    """Text to speak: at most 5,000 bytes of UTF-8."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=5000, pattern=r"^[^\x00]*$")]
    voice: str | None = Field(None, max_length=100)
    language: LanguageCode | None = None
    speaking_rate: float = Field(1.0, ge=0.25, le=2.0)
    audio_format: AudioFormat = "ogg_opus"


class SpokenBefore(BaseModel):
    """What the key of a text that was spoken gives again: everything but the audio, which is not kept."""

    audio: None = None
    mime: str
    characters: int


class Voice(BaseModel):
    """A voice that can speak a turn."""

    name: str
    language: str
    gender: str
    streams: bool


class VoiceList(BaseModel):
    items: list[Voice]


class Language(BaseModel):
    """A language by its BCP 47 code, and what the product can do in it."""

    code: str
    hears: bool
    speaks: bool


class LanguageList(BaseModel):
    items: list[Language]


@dataclass(frozen=True)
class Manner:
    """How to speak: a provider's voice, a format, and a rate (1 is the voice's own)."""

    voice: str
    audio_format: AudioFormat
    speaking_rate: float = 1.0


@dataclass(frozen=True)
class Piece:
    """Audio of one sentence or part of one. `text` holds the sentences that begin with it, as far as can be told."""

    seq: int
    text: str
    data: bytes
    seconds: float
