"""Speech-to-Text v2 (google.cloud.speech.v2.Speech): Recognize, StreamingRecognize and the implicit recognizer.

Limits: https://cloud.google.com/speech-to-text/quotas (content limits).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from google.cloud.speech_v2 import types

from local.refusals import Refusal, invalid
from local.speech.decoding import TooLongError, UndecodableError, decode
from local.speech.hearing import Clip, Ear
from local.speech.listening import listen
from local.speech.recognition_answers import metadata, result
from local.speech.recognition_config import Wish, read_wish, recognizer_location

MAX_CONTENT_BYTES: Final = 10 * 1024 * 1024
MAX_SECONDS: Final = 60


class Recognizer:
    """The Speech API over one engine."""

    def __init__(self, ear: Ear) -> None:
        self._ear = ear

    async def Recognize(self, request: Any) -> Any:  # noqa: N802 - named by the API
        location = recognizer_location(request.recognizer)
        wish = read_wish(request.config, location)
        if "uri" in request:
            raise Refusal(
                grpc.StatusCode.UNIMPLEMENTED,
                "The local stand-in recognizes inline content only, not Cloud Storage URIs.",
            )
        clip = await _decoded(request.content, wish)
        heard = await self._ear.hear(clip, words=wish.words)
        return types.RecognizeResponse(results=[result(item, wish) for item in heard], metadata=metadata(clip.seconds))

    async def StreamingRecognize(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:  # noqa: N802 - named by the API
        async for response in listen(self._ear, requests):
            yield response

    async def ListRecognizers(self, request: Any) -> Any:  # noqa: N802 - named by the API
        """None: only the implicit recognizer is here, and it is in no list."""
        recognizer_location(f"{request.parent}/recognizers/_")
        return types.ListRecognizersResponse()

    async def GetRecognizer(self, request: Any) -> Any:  # noqa: N802 - named by the API
        recognizer_location(request.name)
        return types.Recognizer(name=request.name, state=types.Recognizer.State.ACTIVE)


async def _decoded(content: bytes, wish: Wish) -> Clip:
    if not content:
        raise invalid("Invalid value for field content: the audio is empty.")
    if len(content) > MAX_CONTENT_BYTES:
        raise invalid(f"Request payload size exceeds the limit: {MAX_CONTENT_BYTES} bytes.")
    try:
        clip = await asyncio.to_thread(decode, content, wish.form, MAX_SECONDS)
    except UndecodableError as error:
        raise invalid(str(error)) from None
    except TooLongError:
        raise invalid(f"Audio can be of a maximum of {MAX_SECONDS} seconds.") from None
    if clip.seconds >= MAX_SECONDS:
        raise invalid(f"Audio can be of a maximum of {MAX_SECONDS} seconds.")
    return clip
