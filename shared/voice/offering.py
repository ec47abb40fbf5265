"""What the product can hear and speak: use cases that need the provider's list of voices and nothing else."""

from __future__ import annotations

from shared.runtime.settings import Settings, load
from shared.voice import rules, voices
from shared.voice.models import Language, LanguageList, VoiceList


class HearingSettings(Settings):
    """`hearing_languages`: comma-separated BCP 47 codes that the recognizer hears, where not all of the model's."""

    hearing_languages: str = ""
    speech_model: str = "chirp_3"

    @property
    def languages(self) -> list[str]:
        named = [code.strip() for code in self.hearing_languages.split(",") if code.strip()]
        return named or list(rules.CHIRP_3_LANGUAGES)


async def list_voices() -> VoiceList:
    return VoiceList(items=await voices.every())


async def list_languages() -> LanguageList:
    """Every language that can be heard or spoken, by code."""
    spoken = {voice.language for voice in await voices.every()}
    heard = set(load(HearingSettings).languages)
    return LanguageList(
        items=[Language(code=code, hears=code in heard, speaks=code in spoken) for code in sorted(heard | spoken)]
    )
