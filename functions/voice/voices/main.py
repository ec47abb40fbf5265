"""GET /v1/voice/voices."""

from __future__ import annotations

from fastapi import Response

from shared.clients.texttospeech import TextToSpeechSettings
from shared.http.declaration import Caller, Function
from shared.voice import offering
from shared.voice.models import VoiceList

function = Function(name="voice-voices", path="/v1/voice/voices", settings=(TextToSpeechSettings,))


@function.get("Voices that can speak", caller=Caller.EVERYONE)
async def list_voices(response: Response) -> VoiceList:
    response.headers["Cache-Control"] = "public, max-age=3600"
    return await offering.list_voices()


main = function.entry_point()
