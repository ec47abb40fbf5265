"""POST /v1/voice/speech: a text as audio, streamed while it is made."""

from __future__ import annotations

from typing import Any

from shared.clients.database import DatabaseSettings
from shared.clients.texttospeech import TextToSpeechSettings
from shared.http.bearer import SignedIn
from shared.http.declaration import Caller, Function
from shared.http.settings import TokenSettings
from shared.http.streams import ByteStream
from shared.runtime.fleet import SPEAKING
from shared.runtime.visit import FleetCost, Rate
from shared.voice import service
from shared.voice.models import MIME_TYPES, SpeechRequest, SpokenBefore

function = Function(
    name="voice-speech",
    path="/v1/voice/speech",
    settings=(DatabaseSettings, TokenSettings, TextToSpeechSettings),
    secrets=("BACKEND_KEY",),
    memory_mb=512,
    timeout_seconds=120,
)

_AUDIO = {"schema": {"type": "string", "format": "binary"}}
_AGAIN: dict[str, Any] = {"application/json": {"schema": SpokenBefore.model_json_schema()}}


@function.post(
    "Speak a text",
    caller=Caller.PERSON,
    idempotency="accepted",
    streams=True,
    rate=Rate(60, burst=20),
    fleet=(FleetCost(SPEAKING),),
    response_class=ByteStream,
    responses={200: {"content": {mime.partition(";")[0]: _AUDIO for mime in MIME_TYPES.values()} | _AGAIN}},
)
async def speak(wanted: SpeechRequest, person: SignedIn) -> ByteStream:
    manner, audio = await service.speak(person, wanted)
    return ByteStream(audio, media_type=MIME_TYPES[manner.audio_format])


main = function.entry_point()
