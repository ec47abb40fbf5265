"""Google Text-to-Speech: synthesis whole or streamed. Limits: 5,000 bytes of text in one request or input message.

A synthesis stream takes several texts one after the other and answers with one continuous run of audio. The provider
ends it (ABORTED) when no text came for five seconds. Streams speak PCM and Ogg Opus, and only with Chirp 3 HD voices.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

from google.api_core import exceptions as google_errors
from google.cloud.texttospeech_v1 import TextToSpeechAsyncClient
from google.cloud.texttospeech_v1.services.text_to_speech.transports import TextToSpeechGrpcAsyncIOTransport
from google.cloud.texttospeech_v1.types import (
    AudioConfig,
    AudioEncoding,
    StreamingAudioConfig,
    StreamingSynthesisInput,
    StreamingSynthesizeConfig,
    StreamingSynthesizeRequest,
    SynthesisInput,
    VoiceSelectionParams,
)

from shared.clients.grpc_channels import transport_arguments
from shared.runtime.errors import OprinaError, Unavailable, Unprocessable, UpstreamFailed, UpstreamTimeout
from shared.runtime.settings import Settings, load

SAMPLE_RATE_HERTZ = 24_000
INPUT_IDLE_SECONDS = 5.0

_UNARY_TIMEOUT_SECONDS = 20.0
_STREAM_TIMEOUT_SECONDS = 120.0
_LIST_TIMEOUT_SECONDS = 10.0
_CHECK_TIMEOUT_SECONDS = 3.0

Encoding = Literal["pcm", "ogg_opus", "mp3", "wav"]
_ENCODINGS = {
    "pcm": AudioEncoding.PCM,
    "ogg_opus": AudioEncoding.OGG_OPUS,
    "mp3": AudioEncoding.MP3,
    "wav": AudioEncoding.LINEAR16,
}

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, TextToSpeechAsyncClient] = WeakKeyDictionary()


class TextToSpeechSettings(Settings):
    texttospeech_endpoint: str


@dataclass(frozen=True)
class ProviderVoice:
    name: str
    languages: tuple[str, ...]
    gender: str


def _client() -> TextToSpeechAsyncClient:
    loop = asyncio.get_running_loop()
    client = _clients.get(loop)
    if client is None:
        endpoint = load(TextToSpeechSettings).texttospeech_endpoint
        client = TextToSpeechAsyncClient(transport=TextToSpeechGrpcAsyncIOTransport(**transport_arguments(endpoint)))
        _clients[loop] = client
    return client


async def synthesize(text: str, voice: str, encoding: Encoding, speaking_rate: float = 1.0) -> bytes:
    """The whole of `text` as one piece of audio, 24 kHz mono; `wav` has its header.

    Raises:
        Unprocessable, Unavailable, UpstreamFailed, UpstreamTimeout: see `_translated`.
    """
    try:
        answer = await _client().synthesize_speech(
            input=SynthesisInput(text=text),
            voice=VoiceSelectionParams(name=voice, language_code=language_of(voice)),
            audio_config=AudioConfig(
                audio_encoding=_ENCODINGS[encoding], sample_rate_hertz=SAMPLE_RATE_HERTZ, speaking_rate=speaking_rate
            ),
            timeout=_UNARY_TIMEOUT_SECONDS,
        )
    except google_errors.GoogleAPICallError as error:
        raise _translated(error) from error
    audio: bytes = answer.audio_content
    return audio


async def stream(
    texts: AsyncIterator[str], voice: str, encoding: Encoding, speaking_rate: float = 1.0
) -> AsyncGenerator[bytes]:
    """One synthesis stream: texts in as they come, audio out as it is made.

    Raises:
        Unprocessable, Unavailable, UpstreamFailed, UpstreamTimeout: see `_translated`.
    """

    async def requests() -> AsyncIterator[StreamingSynthesizeRequest]:
        yield StreamingSynthesizeRequest(
            streaming_config=StreamingSynthesizeConfig(
                voice=VoiceSelectionParams(name=voice, language_code=language_of(voice)),
                streaming_audio_config=StreamingAudioConfig(
                    audio_encoding=_ENCODINGS[encoding],
                    sample_rate_hertz=SAMPLE_RATE_HERTZ,
                    speaking_rate=speaking_rate,
                ),
            )
        )
        async for text in texts:
            yield StreamingSynthesizeRequest(input=StreamingSynthesisInput(text=text))

    try:
        answers = await _client().streaming_synthesize(requests=requests(), timeout=_STREAM_TIMEOUT_SECONDS)
        async for answer in answers:
            if answer.audio_content:
                yield answer.audio_content
    except google_errors.GoogleAPICallError as error:
        raise _translated(error) from error


async def list_voices() -> list[ProviderVoice]:
    """All voices of the provider.

    Raises:
        Unavailable, UpstreamFailed, UpstreamTimeout: see `_translated`.
    """
    try:
        answer = await _client().list_voices(timeout=_LIST_TIMEOUT_SECONDS)
    except google_errors.GoogleAPICallError as error:
        raise _translated(error) from error
    return [
        ProviderVoice(voice.name, tuple(voice.language_codes), voice.ssml_gender.name.lower())
        for voice in answer.voices
    ]


async def check() -> None:
    """Ask for the voices of one language.

    Raises:
        OprinaError: it is away, or refuses us.
    """
    try:
        await _client().list_voices(language_code="en-US", timeout=_CHECK_TIMEOUT_SECONDS, retry=None)
    except google_errors.GoogleAPICallError as error:
        raise _translated(error) from error


def language_of(voice: str) -> str:
    """The language in a voice's name: `en-US-Chirp3-HD-Aoede` → `en-US`, `cmn-CN-…` → `cmn-CN`."""
    return "-".join(voice.split("-")[:2])


def _translated(error: google_errors.GoogleAPICallError) -> OprinaError:
    if isinstance(error, google_errors.InvalidArgument):
        return Unprocessable("This text or voice cannot be spoken.", code="speech_refused")
    if isinstance(error, google_errors.ResourceExhausted):
        return Unavailable(
            "Too many people are listening just now. Try again shortly.", code="capacity", retry_after_seconds=5
        )
    if isinstance(error, google_errors.DeadlineExceeded):
        return UpstreamTimeout("Speaking took too long. Try again.", code="speech_timeout")
    if isinstance(error, google_errors.ServiceUnavailable):
        return Unavailable("The voice is not available just now. Try again.", code="speech_unavailable")
    return UpstreamFailed("Speaking failed. Try again.", code="speech_failed")
