"""What a client may ask of Speech-to-Text v2, checked as the service checks it.

Locations of chirp_3: https://cloud.google.com/speech-to-text/v2/docs/chirp_3-model; languages:
https://cloud.google.com/speech-to-text/v2/docs/speech-to-text-supported-languages
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from google.cloud.speech_v2 import types

from local.refusals import invalid, not_found
from local.speech import decoding
from local.speech.decoding import Container, RawSamples

_MODELS: Final = """
    chirp chirp_2 chirp_3 long short telephony telephony_short latest_long latest_short medical_conversation
    medical_dictation
"""
_CHIRP_3_LOCATIONS: Final = """
    us eu asia-southeast1 asia-northeast1 asia-south1 europe-west2 europe-west3 northamerica-northeast1
"""
_OTHER_LANGUAGES: Final = """
    auto af-ZA sq-AL am-ET ar-AE ar-EG ar-SA hy-AM as-IN ast-ES az-AZ eu-ES be-BY bn-BD bn-IN bs-BA bg-BG my-MM
    ca-ES ceb-PH ckb-IQ cmn-Hans-CN cmn-Hant-TW yue-Hant-HK zh-Hans-CN zh-Hant-TW hr-HR cs-CZ da-DK nl-NL nl-BE
    et-EE fil-PH fi-FI fr-CA fr-FR ff-SN gl-ES ka-GE de-AT de-CH de-DE el-GR gu-IN ha-NG iw-IL hi-IN hu-HU is-IS
    ig-NG id-ID ga-IE it-IT ja-JP jv-ID kea-CV kam-KE kn-IN kk-KZ km-KH ko-KR ky-KG lo-LA lv-LV ln-CD lt-LT
    luo-KE lb-LU mk-MK ms-MY ml-IN mt-MT mi-NZ mr-IN mn-MN ne-NP no-NO nb-NO ny-MW oc-FR or-IN om-ET ps-AF fa-IR
    pl-PL pt-BR pt-PT pa-Guru-IN ro-RO ru-RU nso-ZA sr-RS sn-ZW sd-IN si-LK sk-SK sl-SI so-SO es-419 es-ES es-MX
    es-US su-ID sw sw-KE sv-SE tg-TJ ta-IN te-IN th-TH tr-TR uk-UA ur-PK uz-UZ vi-VN cy-GB wo-SN xh-ZA yo-NG
    zu-ZA
"""
MODELS: Final = frozenset(_MODELS.split())
CHIRP_3_LOCATIONS: Final = frozenset(_CHIRP_3_LOCATIONS.split())
OTHER_LANGUAGES: Final = frozenset(_OTHER_LANGUAGES.split())
MAX_LANGUAGES: Final = 3
MAX_ALTERNATIVES: Final = 30
MAX_CHANNELS: Final = 8
_RECOGNIZER: Final = re.compile(r"projects/([^/]+)/locations/([^/]+)/recognizers/([^/]+)")
_ENGLISH: Final = re.compile(r"en-[A-Z]{2}")
_Encoding = types.ExplicitDecodingConfig.AudioEncoding
_RAW: Final = {_Encoding.LINEAR16: "s16le", _Encoding.MULAW: "mulaw", _Encoding.ALAW: "alaw"}
_CONTAINERS: Final = {
    _Encoding.AMR: decoding.AMR,
    _Encoding.AMR_WB: decoding.AMR,
    _Encoding.FLAC: decoding.FLAC,
    _Encoding.MP3: decoding.MP3,
    _Encoding.OGG_OPUS: decoding.OGG,
    _Encoding.WEBM_OPUS: decoding.MATROSKA,
    _Encoding.MP4_AAC: decoding.MPEG4,
    _Encoding.M4A_AAC: decoding.MPEG4,
    _Encoding.MOV_AAC: decoding.MPEG4,
}


@dataclass(frozen=True)
class Wish:
    """A recognition that may be done: how to decode (None: as the bytes say), and what to answer."""

    form: Container | RawSamples | None
    language_code: str
    word_times: bool
    word_confidence: bool

    @property
    def words(self) -> bool:
        return self.word_times or self.word_confidence


def recognizer_location(name: str) -> str:
    """The location of the implicit recognizer `_`, the only one there is.

    Raises:
        Refusal: INVALID_ARGUMENT for a name of another form, NOT_FOUND for any other recognizer.
    """
    found = _RECOGNIZER.fullmatch(name)
    if found is None:
        raise invalid(
            f"Invalid resource field value in the request: the recognizer {name!r} is not of the form "
            "projects/{project}/locations/{location}/recognizers/{recognizer}."
        )
    if found[3] != "_":
        raise not_found(f"Unable to find Recognizer {name}: the local stand-in has only the implicit recognizer '_'.")
    return found[2]


def read_wish(config: Any, location: str) -> Wish:
    """Check a RecognitionConfig for the implicit recognizer, which takes nothing from a stored one.

    Raises:
        Refusal: INVALID_ARGUMENT with a sentence that names the field.
    """
    _check_model(config.model, location)
    features = config.features
    if not 0 <= features.max_alternatives <= MAX_ALTERNATIVES:
        raise invalid(
            f"Invalid value for field features.max_alternatives: it must be between 0 and {MAX_ALTERNATIVES}."
        )
    return Wish(
        form=_form(config),
        language_code=_language(list(config.language_codes), config.model, location),
        word_times=features.enable_word_time_offsets,
        word_confidence=features.enable_word_confidence,
    )


def _check_model(model: str, location: str) -> None:
    if not model:
        raise invalid("Invalid value for field model: the implicit recognizer '_' needs one.")
    if model not in MODELS or (model == "chirp_3" and location not in CHIRP_3_LOCATIONS):
        raise invalid(f'The model "{model}" does not exist in the location named "{location}".')


def _language(codes: list[str], model: str, location: str) -> str:
    if not 1 <= len(codes) <= MAX_LANGUAGES:
        raise invalid(
            f"Invalid value for field language_codes: between 1 and {MAX_LANGUAGES} are needed, not {len(codes)}."
        )
    for code in codes:
        if not _ENGLISH.fullmatch(code) and code not in OTHER_LANGUAGES:
            raise invalid(
                f'The language "{code}" is not supported by the model "{model}" in the location named "{location}".'
            )
    for code in codes:
        if _ENGLISH.fullmatch(code):
            return code
    raise invalid(
        f"The local speech engine hears English only, so {', '.join(codes)} cannot be recognized here. "
        "Ask for en-US or another English locale, or use the real service."
    )


def _form(config: Any) -> Container | RawSamples | None:
    if "auto_decoding_config" in config:
        return None
    if "explicit_decoding_config" not in config:
        raise invalid(
            "Invalid value for field decoding_config: auto_decoding_config or explicit_decoding_config is needed."
        )
    explicit = config.explicit_decoding_config
    if explicit.encoding in _CONTAINERS:
        return _CONTAINERS[explicit.encoding]
    if explicit.encoding not in _RAW:
        raise invalid("Invalid value for field explicit_decoding_config.encoding: an audio encoding is needed.")
    if not 8000 <= explicit.sample_rate_hertz <= 48000:
        raise invalid(
            "Invalid value for field explicit_decoding_config.sample_rate_hertz: it must be between 8000 and 48000."
        )
    if not 1 <= explicit.audio_channel_count <= MAX_CHANNELS:
        raise invalid(
            "Invalid value for field explicit_decoding_config.audio_channel_count: it must be between 1 and "
            f"{MAX_CHANNELS}."
        )
    return RawSamples(_RAW[explicit.encoding], explicit.sample_rate_hertz, explicit.audio_channel_count)
