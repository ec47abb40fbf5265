"""Use cases of the voice room: hear a clip, speak a text, say what can be heard and spoken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing

from shared.clients import speech
from shared.operations import ledger
from shared.operations.models import UsageItem
from shared.operations.rules import cost_micros
from shared.runtime import ids
from shared.runtime.crypto import digest
from shared.runtime.errors import OprinaError, Unprocessable
from shared.runtime.settings import load
from shared.runtime.visit import Replay, Visit
from shared.voice import audio, rules, voices
from shared.voice.models import (
    MIME_TYPES,
    AudioFormat,
    Clip,
    Manner,
    SpeechRequest,
    SpokenBefore,
    Transcript,
    Transcription,
    TranscriptWord,
)
from shared.voice.offering import HearingSettings
from shared.voice.sentences import SentenceCutter as SentenceCutter
from shared.voice.speaking import Speech as Speech

read_clip = audio.read_clip
as_file = audio.as_file

# As long as the functions that serve these calls may run.
_CALL_SECONDS = 120

SPEAKING_PROVIDER = "google-texttospeech/chirp3-hd"


def hearing_language(wanted: str | None) -> str:
    """The language to hear in.

    Raises:
        Unprocessable: `language_unsupported`.
    """
    language = rules.match_language(wanted, load(HearingSettings).languages)
    if language is None:
        raise Unprocessable(
            f"The language {wanted} cannot be heard here. GET /v1/voice/languages lists those that can.",
            code="language_unsupported",
        )
    return language


async def hear(clip: Clip, language: str) -> tuple[Transcript, UsageItem]:
    """Hear a clip.

    Returns:
        The transcript, and what it cost by the provider's own figure.

    Raises:
        Unprocessable: nobody speaks in it (`no_speech`), or the provider refuses it.
        OprinaError: the provider failed.
    """
    transcription, usage = await _recognize(clip, language, words=False)
    return Transcript(**transcription.model_dump(exclude={"words"})), usage


async def _recognize(clip: Clip, language: str, *, words: bool) -> tuple[Transcription, UsageItem]:
    heard = await speech.recognize(clip.data, language, words=words)
    if not heard.text:
        raise Unprocessable(
            "No speech could be heard. Try again, a little closer to the microphone.", code="no_speech", retryable=True
        )
    transcription = Transcription(
        text=heard.text,
        confidence=heard.confidence,
        language=heard.language or language,
        duration_seconds=round(clip.duration_seconds, 3),
        words=[TranscriptWord(**vars(word)) for word in heard.words] if words else None,
    )
    provider = f"google-speech/{load(HearingSettings).speech_model}"
    cost = cost_micros(provider, "seconds", heard.billed_seconds)
    return transcription, UsageItem(
        id=ids.new_id(),
        kind="hearing",
        provider=provider,
        unit="seconds",
        quantity=heard.billed_seconds,
        cost_micros=cost,
    )


async def manner_for(
    voice: str | None, language: str | None, audio_format: AudioFormat, speaking_rate: float = 1.0
) -> Manner:
    """Choose the voice: the one that was asked for, or the default speaker of the language.

    Raises:
        Unprocessable: `voice_unknown`, `language_unsupported`.
    """
    chosen = await voices.choose(voice, language, streamed=audio_format in rules.STREAMED_FORMATS)
    return Manner(chosen, audio_format, speaking_rate)


def speaking_usage(characters: int) -> UsageItem:
    cost = cost_micros(SPEAKING_PROVIDER, "characters", characters)
    return UsageItem(
        id=ids.new_id(),
        kind="speaking",
        provider=SPEAKING_PROVIDER,
        unit="characters",
        quantity=characters,
        cost_micros=cost,
    )


async def _heard_once(call: ledger.Call, clip: Clip, language: str, *, words: bool, fingerprint: str) -> Transcription:
    try:
        transcription, usage = await _recognize(clip, language, words=words)
    except OprinaError as error:
        await call.refused(error, fingerprint)
        raise
    await call.answered([usage], 200, transcription.model_dump(mode="json"), fingerprint)
    return transcription


async def transcribe(visit: Visit, upload: Awaitable[Clip], language: str | None, *, words: bool) -> Transcription:
    """`POST /v1/voice/transcriptions`: the call is admitted while the upload is read.

    Raises:
        Replay: the key's call has ended, and heard the same recording.
        OprinaError: refused, unreadable, or the provider failed.
    """
    # What the call is about is known when all of it is here.
    asked, visit.fingerprint = visit.fingerprint or "", None
    chosen = hearing_language(language)
    call = ledger.Call(visit)
    beginning = asyncio.ensure_future(call.begin(_CALL_SECONDS))
    try:
        clip = await upload
    except BaseException:
        if await _has_begun(beginning):
            await call.given_up([])
        raise
    fingerprint = digest(asked + digest(clip.data))
    try:
        await beginning
    except Replay as replay:
        replay.compare(fingerprint)
        raise
    return await _heard_once(call, clip, chosen, words=words, fingerprint=fingerprint)


async def _has_begun(beginning: asyncio.Future[None]) -> bool:
    """Whether there is a claim to give up. What was sent to the database is done there, whoever waits for it."""
    (outcome,) = await asyncio.gather(beginning, return_exceptions=True)
    return outcome is None


async def speak(visit: Visit, request: SpeechRequest) -> tuple[Manner, AsyncIterator[bytes]]:
    """`POST /v1/voice/speech`: the audio as it is made. The first bytes are there before this returns.

    Raises:
        Replay: the key's text was spoken before; its audio is not kept.
        Unprocessable: the text is longer than 5,000 bytes (`text_too_long`), or the voice is unknown.
        OprinaError: the provider failed before it made a sound.
    """
    if len(request.text.encode()) > rules.MAX_SPEECH_BYTES:
        raise Unprocessable(
            "The text is longer than 5,000 bytes. For longer texts create a speech job: POST /v1/jobs.",
            code="text_too_long",
        )
    manner = await manner_for(request.voice, request.language, request.audio_format, request.speaking_rate)
    call = ledger.Call(visit)
    await call.begin(_CALL_SECONDS)
    spoken = Speech(manner)
    spoken.say(request.text)
    spoken.finish()
    pieces = spoken.pieces()
    try:
        first = await anext(pieces)
    except OprinaError as error:
        await call.refused(error, visit.fingerprint)
        raise

    async def rest() -> AsyncIterator[bytes]:
        whole = False
        try:
            async with aclosing(pieces):
                yield first.data
                async for piece in pieces:
                    yield piece.data
            whole = True
        finally:
            # Before the last byte leaves: the platform may take the processor away after it.
            used = speaking_usage(spoken.characters or len(request.text))
            if whole:
                again = SpokenBefore(mime=MIME_TYPES[manner.audio_format], characters=used.quantity)
                await call.answered([used], 200, again.model_dump(mode="json"))
            else:
                await call.given_up([used])

    return manner, rest()
