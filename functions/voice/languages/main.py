"""GET /v1/voice/languages."""

from __future__ import annotations

from fastapi import Response

from shared.clients.texttospeech import TextToSpeechSettings
from shared.http.declaration import Caller, Function
from shared.voice import offering
from shared.voice.models import LanguageList

function = Function(name="voice-languages", path="/v1/voice/languages", settings=(TextToSpeechSettings,))


@function.get("Languages that can be heard or spoken", caller=Caller.EVERYONE)
async def list_languages(response: Response) -> LanguageList:
    response.headers["Cache-Control"] = "public, max-age=3600"
    return await offering.list_languages()


main = function.entry_point()
