"""How spoken parts become one recording: the pauses between them, and where its chapters lie. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.jobs.media_models import Chapter

SAMPLE_RATE_HERTZ: Final = 24_000

_PAUSE_MS: Final = 250
_CHAPTER_PAUSE_MS: Final = 900
_FADE_MS: Final = 5
FADE_SAMPLES: Final = SAMPLE_RATE_HERTZ * _FADE_MS // 1000


@dataclass(frozen=True)
class SpokenPart:
    """A part that was spoken: how many samples it has, and the heading of the chapter that begins with it."""

    samples: int
    chapter: str | None = None


@dataclass(frozen=True)
class Plan:
    """`pauses` are the samples of silence before each part."""

    pauses: tuple[int, ...]
    chapters: tuple[Chapter, ...]
    samples: int

    @property
    def duration_ms(self) -> int:
        return _milliseconds(self.samples)


def planned(parts: Sequence[SpokenPart]) -> Plan:
    """Where everything comes to lie, before anything is encoded: containers want chapters at their front."""
    pauses: list[int] = []
    begins: list[tuple[str, int]] = []
    position = 0
    for number, part in enumerate(parts):
        pause = 0 if number == 0 else _samples(_CHAPTER_PAUSE_MS if part.chapter is not None else _PAUSE_MS)
        position += pause
        if part.chapter is not None:
            begins.append((part.chapter, position))
        pauses.append(pause)
        position += part.samples
    ends = [*(start for _, start in begins[1:]), position]
    chapters = [
        Chapter(title, _milliseconds(start), _milliseconds(end))
        for (title, start), end in zip(begins, ends, strict=False)
    ]
    return Plan(tuple(pauses), tuple(chapters), position)


def fade(position: int, samples: int) -> float:
    """How loud a sample at the edge of a part is, from 0 to 1: a part that begins or ends abruptly would click."""
    from_edge = min(position, samples - 1 - position)
    return min(from_edge / FADE_SAMPLES, 1.0)


def chapters_document(chapters: Sequence[Chapter]) -> dict[str, Any]:
    """Chapters beside a file that cannot hold them, in the form of podcasts (JSON chapters of podcasting2.org)."""
    return {
        "version": "1.2.0",
        "chapters": [
            {"startTime": chapter.start_ms / 1000, "endTime": chapter.end_ms / 1000, "title": chapter.title}
            for chapter in chapters
        ],
    }


def _samples(milliseconds: int) -> int:
    return SAMPLE_RATE_HERTZ * milliseconds // 1000


def _milliseconds(samples: int) -> int:
    return round(samples * 1000 / SAMPLE_RATE_HERTZ)
