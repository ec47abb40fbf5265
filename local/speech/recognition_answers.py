"""What the engine heard, in the messages of Speech-to-Text v2."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from google.cloud.speech_v2 import types

from local.speech.hearing import Heard
from local.speech.recognition_config import Wish

_INTERIM_STABILITY = 0.5


def result(heard: Heard, wish: Wish) -> Any:
    """One SpeechRecognitionResult of a whole clip."""
    return types.SpeechRecognitionResult(
        alternatives=[_alternative(heard, wish)],
        result_end_offset=duration(heard.end_seconds),
        language_code=wish.language_code.lower(),
    )


def streaming_result(heard: Heard, wish: Wish, offset_seconds: float, *, final: bool) -> Any:
    """One StreamingRecognitionResult; what was heard starts `offset_seconds` into the stream."""
    return types.StreamingRecognitionResult(
        alternatives=[_alternative(heard, wish, offset_seconds)],
        is_final=final,
        stability=0.0 if final else _INTERIM_STABILITY,
        result_end_offset=duration(offset_seconds + heard.end_seconds),
        language_code=wish.language_code.lower(),
    )


def _alternative(heard: Heard, wish: Wish, offset_seconds: float = 0.0) -> Any:
    return types.SpeechRecognitionAlternative(
        transcript=heard.text,
        confidence=heard.confidence,
        words=list(_words(heard, wish, offset_seconds)),
    )


def _words(heard: Heard, wish: Wish, offset_seconds: float) -> Iterable[Any]:
    for word in heard.words:
        info = types.WordInfo(word=word.text)
        if wish.word_times:
            info.start_offset = duration(offset_seconds + word.start_seconds)
            info.end_offset = duration(offset_seconds + word.end_seconds)
        if wish.word_confidence:
            info.confidence = word.confidence
        yield info


def metadata(seconds: float) -> Any:
    """Billing is by the second, begun ones counting whole."""
    return types.RecognitionResponseMetadata(total_billed_duration=timedelta(seconds=math.ceil(seconds)))


def duration(seconds: float) -> timedelta:
    """To the millisecond, as the service gives its offsets."""
    return timedelta(milliseconds=round(seconds * 1000))
