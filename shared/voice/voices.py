"""The provider's voices, asked for once an hour."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from shared.clients import texttospeech
from shared.runtime import clock
from shared.runtime.errors import Unprocessable
from shared.voice import rules
from shared.voice.models import Voice

_LIFESPAN_MS = 3600 * 1000


@dataclass
class _Known:
    voices: list[Voice] = field(default_factory=list)
    asked_at_ms: float = float("-inf")
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


_known: WeakKeyDictionary[asyncio.AbstractEventLoop, _Known] = WeakKeyDictionary()


async def every() -> list[Voice]:
    """All voices, by name.

    Raises:
        OprinaError: the provider does not tell, and never did.
    """
    known = _known.setdefault(asyncio.get_running_loop(), _Known())
    if clock.monotonic_ms() - known.asked_at_ms < _LIFESPAN_MS:
        return known.voices
    async with known.asking:
        if clock.monotonic_ms() - known.asked_at_ms >= _LIFESPAN_MS:
            listed = await texttospeech.list_voices()
            known.voices = sorted((_voice(voice) for voice in listed), key=lambda voice: voice.name)
            known.asked_at_ms = clock.monotonic_ms()
    return known.voices


def _voice(voice: texttospeech.ProviderVoice) -> Voice:
    language = voice.languages[0] if voice.languages else texttospeech.language_of(voice.name)
    return Voice(name=voice.name, language=language, gender=voice.gender, streams=rules.STREAMING_VOICE in voice.name)


async def choose(name: str | None, language: str | None, *, streamed: bool) -> str:
    """The voice's name to use.

    Raises:
        Unprocessable: no such voice (`voice_unknown`), one that cannot stream (`voice_cannot_stream`), or no voice
            speaks the language (`language_unsupported`).
    """
    voices = await every()
    if name is not None:
        return _named(name, voices, streamed=streamed)
    able = [voice for voice in voices if voice.streams]
    spoken = rules.match_language(language, list(dict.fromkeys(voice.language for voice in able)))
    if spoken is None:
        raise Unprocessable(
            f"No voice speaks {language}. GET /v1/voice/languages lists what is spoken.", code="language_unsupported"
        )
    speakers = [voice.name for voice in able if voice.language == spoken]
    return next((speaker for speaker in speakers if speaker.endswith(rules.DEFAULT_SPEAKER)), speakers[0])


def _named(name: str, voices: list[Voice], *, streamed: bool) -> str:
    voice = next((voice for voice in voices if voice.name == name), None)
    if voice is None:
        raise Unprocessable(f"There is no voice {name}. GET /v1/voice/voices lists them.", code="voice_unknown")
    if streamed and not voice.streams:
        raise Unprocessable(
            f"The voice {name} speaks only mp3 and wav. Choose one that streams, or another audio_format.",
            code="voice_cannot_stream",
        )
    return voice.name
