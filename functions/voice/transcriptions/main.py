"""POST /v1/voice/transcriptions: what was said in a clip."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import Query, Request

from shared.clients.database import DatabaseSettings
from shared.clients.speech import SpeechSettings
from shared.http.bearer import SignedIn
from shared.http.declaration import Caller, Function
from shared.http.settings import TokenSettings
from shared.http.uploads import FORM_OVERHEAD_BYTES, audio_too_large, read_audio
from shared.runtime.fleet import HEARING
from shared.runtime.visit import FleetCost, Rate
from shared.voice import service
from shared.voice.models import Clip, LanguageCode, Transcription
from shared.voice.rules import MAX_CLIP_BYTES, MEDIA_TYPES

function = Function(
    name="voice-transcriptions",
    path="/v1/voice/transcriptions",
    settings=(DatabaseSettings, TokenSettings, SpeechSettings),
    secrets=("BACKEND_KEY",),
    roles=("roles/speech.client",),
    memory_mb=1024,
    timeout_seconds=60,
)

_too_large = partial(
    audio_too_large, MAX_CLIP_BYTES, "For longer recordings create a transcription job: POST /v1/jobs."
)
_AUDIO = {"schema": {"type": "string", "format": "binary"}}


@function.post(
    "Hear a clip",
    caller=Caller.PERSON,
    idempotency="accepted",
    max_body_bytes=MAX_CLIP_BYTES + FORM_OVERHEAD_BYTES,
    too_large=_too_large,
    rate=Rate(60, burst=20),
    fleet=(FleetCost(HEARING),),
    openapi_extra={"requestBody": {"required": True, "content": dict.fromkeys(sorted(MEDIA_TYPES), _AUDIO)}},
)
async def transcribe(
    request: Request,
    person: SignedIn,
    language: Annotated[LanguageCode | None, Query()] = None,
    words: Annotated[bool, Query(description="Whether to give each word with its times.")] = False,
) -> Transcription:
    async def upload() -> Clip:
        data = await read_audio(request, media_types=MEDIA_TYPES, limit_bytes=MAX_CLIP_BYTES, too_large=_too_large)
        return await service.read_clip(data)

    return await service.transcribe(person, upload(), language, words=words)


main = function.entry_point()
