"""Pure decisions of the voice room: limits, languages, voices, and which words a piece of audio holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared.voice.models import AudioFormat

MAX_CLIP_SECONDS: Final = 60.0
MAX_CLIP_BYTES: Final = 10 * 1024 * 1024
MAX_SPEECH_BYTES: Final = 5000
STREAMED_FORMATS: Final[frozenset[AudioFormat]] = frozenset({"pcm", "ogg_opus"})
STREAMING_VOICE: Final = "-Chirp3-HD-"
DEFAULT_SPEAKER: Final = "Aoede"
DEFAULT_LANGUAGE: Final = "en-US"

# Chirp 3, generally available for transcription:
# https://cloud.google.com/speech-to-text/v2/docs/chirp_3-model#language_availability
CHIRP_3_LANGUAGES: Final = [
    "ca-ES",
    "cmn-Hans-CN",
    "da-DK",
    "de-DE",
    "el-GR",
    "en-AU",
    "en-GB",
    "en-IN",
    "en-US",
    "es-ES",
    "es-US",
    "fi-FI",
    "fr-CA",
    "fr-FR",
    "hi-IN",
    "hr-HR",
    "it-IT",
    "ja-JP",
    "ko-KR",
    "nl-NL",
    "pl-PL",
    "pt-BR",
    "pt-PT",
    "ro-RO",
    "ru-RU",
    "sv-SE",
    "tr-TR",
    "uk-UA",
    "vi-VN",
]

MEDIA_TYPES: Final[frozenset[str]] = frozenset(
    [
        "audio/webm",
        "video/webm",
        "audio/ogg",
        "application/ogg",
        "audio/mp4",
        "video/mp4",
        "audio/x-m4a",
        "audio/m4a",
        "audio/aac",
        "audio/wav",
        "audio/x-wav",
        "audio/wave",
        "audio/vnd.wave",
        "audio/flac",
        "audio/x-flac",
        "audio/mpeg",
        "audio/mp3",
    ]
)

# The demuxers that may open what somebody sends: each reads one file and no other.
OPENED_CONTAINERS: Final = "matroska,webm,ogg,mov,mp4,m4a,wav,flac,mp3"

# What PyAV calls the containers and codecs that the provider decodes by itself.
READABLE: Final[frozenset[tuple[str, str]]] = frozenset(
    [
        ("matroska,webm", "opus"),
        ("ogg", "opus"),
        ("ogg", "flac"),
        ("flac", "flac"),
        ("mp3", "mp3"),
        ("mp3", "mp3float"),
        ("mov,mp4,m4a,3gp,3g2,mj2", "aac"),
        ("wav", "pcm_s16le"),
        ("wav", "pcm_mulaw"),
        ("wav", "pcm_alaw"),
    ]
)

# Bounded, or a text of nothing but brackets would take hours.
_MARKUP = re.compile(r"[*_`#~|<>]+|\[(?P<label>[^\]]{0,500})\]\([^)]{0,500}\)")


def match_language(wanted: str | None, available: Sequence[str]) -> str | None:
    """The available language that serves `wanted`: itself, or one of the same tongue; the default where none is wanted.

    Of several of the same tongue the default language wins, then the first.
    """
    if not available:
        return None
    if not wanted:
        return DEFAULT_LANGUAGE if DEFAULT_LANGUAGE in available else available[0]
    folded = {code.lower(): code for code in available}
    if wanted.lower() in folded:
        return folded[wanted.lower()]
    tongue = wanted.lower().split("-")[0]
    kin = [code for code in available if _tongue(code) == _tongue(tongue)]
    if not kin:
        return None
    return DEFAULT_LANGUAGE if DEFAULT_LANGUAGE in kin else kin[0]


def _tongue(code: str) -> str:
    primary = code.lower().split("-")[0]
    return "zh" if primary in {"cmn", "zh"} else primary


def plain(text: str) -> str:
    """A sentence without the marks of Markdown, which a voice would read out or stumble over."""
    return re.sub(r"\s+", " ", _MARKUP.sub(lambda match: match.group("label") or "", text)).strip()


def utf8_pieces(text: str, limit: int = MAX_SPEECH_BYTES) -> list[str]:
    """Cut a text that is too long for one request at spaces, so that each piece has at most `limit` bytes."""
    if len(text.encode()) <= limit:
        return [text]
    pieces: list[str] = []
    current = ""
    for word in re.findall(r"\S+\s*", text):
        if current and len((current + word).encode()) > limit:
            pieces.append(current)
            current = ""
        current += word
    return [*pieces, current] if current else pieces


@dataclass
class Pacing:
    """Tells which sentences a run of audio has begun, where the provider does not say.

    A synthesis stream answers with one run of audio for all its sentences. The estimate is the usual pace of speech,
    corrected by what was already heard; it is bounded by the sentences that had been sent when the audio came.
    """

    characters_per_second: float = 15.0

    def begun(self, sentence_lengths: Sequence[int], seconds_before: float) -> int:
        """How many of the sent sentences have begun once `seconds_before` of audio came earlier; at least one."""
        position = seconds_before * self.characters_per_second
        total = 0
        for index, length in enumerate(sentence_lengths):
            if total > position:
                return max(index, 1)
            total += length
        return max(len(sentence_lengths), 1) if sentence_lengths else 0
