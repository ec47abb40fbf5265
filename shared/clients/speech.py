"""Google Speech-to-Text v2, unary recognition. Limits: 60 s and 10 MB in one call."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from google.api_core import exceptions as google_errors
from google.api_core.retry import AsyncRetry, if_exception_type
from google.cloud.speech_v2 import SpeechAsyncClient
from google.cloud.speech_v2.services.speech.transports import SpeechGrpcAsyncIOTransport
from google.cloud.speech_v2.types import (
    AutoDetectDecodingConfig,
    ListRecognizersRequest,
    RecognitionConfig,
    RecognitionFeatures,
    RecognizeRequest,
    RecognizeResponse,
)

from shared.clients.grpc_channels import transport_arguments
from shared.runtime.errors import OprinaError, Unavailable, Unprocessable, UpstreamFailed, UpstreamTimeout
from shared.runtime.settings import Settings, load

_TIMEOUT_SECONDS = 20.0
_CHECK_TIMEOUT_SECONDS = 3.0
# The library leaves recognition without a retry. Hearing changes nothing, so a dropped connection is tried again.
_RETRY = AsyncRetry(if_exception_type(google_errors.ServiceUnavailable), initial=0.1, maximum=0.5, timeout=3.0)

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, SpeechAsyncClient] = WeakKeyDictionary()


class SpeechSettings(Settings):
    """`speech_recognizer` is `projects/P/locations/L/recognizers/_`; the location must be the endpoint's."""

    speech_endpoint: str
    speech_recognizer: str
    speech_model: str = "chirp_3"


@dataclass(frozen=True)
class Word:
    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Heard:
    """`text` is empty where no speech was found. `billed_seconds` is the provider's own figure."""

    text: str
    confidence: float | None
    language: str | None
    billed_seconds: int
    words: tuple[Word, ...]


def _client() -> SpeechAsyncClient:
    loop = asyncio.get_running_loop()
    client = _clients.get(loop)
    if client is None:
        endpoint = load(SpeechSettings).speech_endpoint
        client = SpeechAsyncClient(transport=SpeechGrpcAsyncIOTransport(**transport_arguments(endpoint)))
        _clients[loop] = client
    return client


async def recognize(audio: bytes, language: str, *, words: bool = False) -> Heard:
    """Hear one clip; its encoding is detected from its own header.

    Raises:
        Unprocessable: the provider cannot decode the clip or does not know the language (`audio_refused`).
        Unavailable: away, or the quota is used up (`capacity`).
        UpstreamFailed, UpstreamTimeout: anything else.
    """
    settings = load(SpeechSettings)
    request = RecognizeRequest(
        recognizer=settings.speech_recognizer,
        config=RecognitionConfig(
            auto_decoding_config=AutoDetectDecodingConfig(),
            language_codes=[language],
            model=settings.speech_model,
            features=RecognitionFeatures(enable_automatic_punctuation=True, enable_word_time_offsets=words),
        ),
        content=audio,
    )
    try:
        return _heard(await _client().recognize(request=request, timeout=_TIMEOUT_SECONDS, retry=_RETRY))
    except google_errors.GoogleAPICallError as error:
        raise _translated(error) from error
    except google_errors.RetryError as error:
        raise Unavailable("Speech cannot be heard just now. Try again.", code="hearing_unavailable") from error


async def check() -> None:
    """Ask for the project's own recognizers, which costs nothing.

    Raises:
        OprinaError: it is away, or refuses us.
    """
    location = load(SpeechSettings).speech_recognizer.partition("/recognizers/")[0]
    request = ListRecognizersRequest(parent=location, page_size=1)
    try:
        await _client().list_recognizers(request=request, timeout=_CHECK_TIMEOUT_SECONDS, retry=None)
    except google_errors.GoogleAPICallError as error:
        raise _translated(error) from error


def _heard(response: RecognizeResponse) -> Heard:
    best = [result.alternatives[0] for result in response.results if result.alternatives]
    spoken = [alternative for alternative in best if alternative.transcript.strip()]
    weights = [len(alternative.transcript) for alternative in spoken]
    confidence = None
    if spoken and any(alternative.confidence for alternative in spoken):
        confidence = sum(a.confidence * w for a, w in zip(spoken, weights, strict=True)) / sum(weights)
    return Heard(
        text=" ".join(alternative.transcript.strip() for alternative in spoken),
        confidence=confidence,
        language=next((result.language_code for result in response.results if result.language_code), None),
        billed_seconds=int(response.metadata.total_billed_duration.total_seconds()),
        words=tuple(
            Word(word.word, _milliseconds(word.start_offset), _milliseconds(word.end_offset))
            for alternative in spoken
            for word in alternative.words
        ),
    )


def _milliseconds(offset: object) -> int:
    return round(offset.total_seconds() * 1000) if hasattr(offset, "total_seconds") else 0


def _translated(error: google_errors.GoogleAPICallError) -> OprinaError:
    if isinstance(error, google_errors.InvalidArgument):
        return Unprocessable("This recording or its language cannot be heard.", code="audio_refused")
    if isinstance(error, google_errors.ResourceExhausted):
        return Unavailable(
            "Too many people are talking just now. Try again shortly.", code="capacity", retry_after_seconds=5
        )
    if isinstance(error, google_errors.DeadlineExceeded):
        return UpstreamTimeout("Hearing took too long. Try again.", code="hearing_timeout")
    if isinstance(error, google_errors.ServiceUnavailable):
        return Unavailable("Speech cannot be heard just now. Try again.", code="hearing_unavailable")
    return UpstreamFailed("Hearing failed. Try again.", code="hearing_failed")
