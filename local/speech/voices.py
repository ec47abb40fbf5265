"""The voices that Text-to-Speech offers here. All of them are the one voice of the local engine.

The names are those of Chirp 3: HD (https://cloud.google.com/text-to-speech/docs/chirp3-hd), so that clients work
unchanged; the genders are the ones the service gives for those names.
"""

from __future__ import annotations

import re
from typing import Any, Final

from google.cloud.texttospeech_v1 import types

from local.refusals import invalid

NATURAL_SAMPLE_RATE: Final = 24_000
LANGUAGES: Final = ("en-AU", "en-GB", "en-IN", "en-US")
_FEMALE_NAMES: Final = """
    Achernar Aoede Autonoe Callirrhoe Despina Erinome Gacrux Kore Laomedeia Leda Pulcherrima Sulafat Vindemiatrix Zephyr
"""
_MALE_NAMES: Final = """
    Achird Algenib Algieba Alnilam Charon Enceladus Fenrir Iapetus Orus Puck Rasalgethi Sadachbia Sadaltager Schedar
    Umbriel Zubenelgenubi
"""
_FEMALE: Final = frozenset(_FEMALE_NAMES.split())
_NAMES: Final = _FEMALE | frozenset(_MALE_NAMES.split())
_NAME: Final = re.compile(r"([a-z]{2,3}-[A-Z]{2})-Chirp3-HD-(\w+)")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def listed(language_code: str) -> list[Any]:
    """The voices for a language code, or for a language ("en"); all of them for an empty one.

    Raises:
        Refusal: INVALID_ARGUMENT when it is no language code.
    """
    if language_code and not _LANGUAGE.fullmatch(language_code):
        raise invalid(f"Invalid language code {language_code!r}: it must be a BCP-47 tag like en-US.")
    return [
        types.Voice(
            language_codes=[language],
            name=f"{language}-Chirp3-HD-{name}",
            ssml_gender=types.SsmlVoiceGender.FEMALE if name in _FEMALE else types.SsmlVoiceGender.MALE,
            natural_sample_rate_hertz=NATURAL_SAMPLE_RATE,
        )
        for language in LANGUAGES
        if not language_code or (language + "-").lower().startswith(language_code.lower() + "-")
        for name in sorted(_NAMES)
    ]


def check(voice: Any, *, streaming: bool) -> None:
    """Check a VoiceSelectionParams. Without a name the language's voice is taken, which a stream does not allow.

    Raises:
        Refusal: INVALID_ARGUMENT in the service's words, or saying that the local engine speaks English only.
    """
    if not voice.language_code:
        raise invalid("Invalid value for field voice.language_code: a language code is needed.")
    if not _LANGUAGE.fullmatch(voice.language_code):
        raise invalid(f"Invalid language code {voice.language_code!r}: it must be a BCP-47 tag like en-US.")
    if voice.language_code.split("-")[0].lower() != "en":
        raise invalid(
            f"The local engine speaks English only, so {voice.language_code} cannot be spoken here. "
            "Ask for an en-US voice, or use the real service."
        )
    if voice.name:
        _check_name(voice)
    elif streaming:
        raise invalid("Streaming synthesis needs a Chirp 3: HD voice, such as en-US-Chirp3-HD-Aoede.")


def _check_name(voice: Any) -> None:
    found = _NAME.fullmatch(voice.name)
    if found is None or found[1] not in LANGUAGES or found[2] not in _NAMES:
        raise invalid(f"Voice '{voice.name}' does not exist. Is it misspelled?")
    if found[1].lower() != voice.language_code.lower():
        raise invalid(
            f"Requested language code '{voice.language_code}' doesn't match the voice '{voice.name}''s language code "
            f"'{found[1]}'. Either use the matching language code or choose a different voice."
        )
