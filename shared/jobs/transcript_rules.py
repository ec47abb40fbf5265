"""One transcript out of what was heard in the segments of a recording, with the times of the whole recording. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from shared.jobs.media_models import AssembledTranscript, HeardSegment, Passage, Span, Stretch, Word
from shared.jobs.overlap_rules import Timed, joined

# A longer pause begins a new paragraph.
_PAUSE_MS: Final = 2_000
_ESTIMATED_PAUSE_MS: Final = 10_000
# Scripts that put no space between words; Korean is as wide and does.
_UNSPACED: Final = re.compile(r"[\u3000-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\uff01-\uff65]")


@dataclass(frozen=True)
class _Heard:
    """A segment with its words in the recording's time."""

    segment: HeardSegment
    words: list[Timed]


def assemble(segments: Iterable[HeardSegment], duration_ms: int, skipped: Iterable[Span] = ()) -> AssembledTranscript:
    """The transcript of a recording. A segment that was not recognized is told as missing; the others stand."""
    ordered = sorted(segments, key=lambda segment: (segment.start_ms, segment.end_ms))
    words = _words_of([_Heard(segment, _in_recording(segment)) for segment in ordered if segment.text is not None])
    missing = [Stretch(start_ms=span.start_ms, end_ms=span.end_ms, reason="damaged") for span in skipped]
    missing += [
        Stretch(start_ms=segment.start_ms, end_ms=segment.end_ms, reason="not_recognized")
        for segment in ordered
        if segment.text is None
    ]
    missing.sort(key=lambda stretch: stretch.start_ms)
    passages = [_passage(run) for run in _runs(words, missing)]
    return AssembledTranscript(
        duration_ms=duration_ms,
        language=_most_spoken(words),
        confidence=_confidence(words),
        text="\n\n".join(passage.text for passage in passages),
        passages=passages,
        missing=missing,
    )


def _in_recording(segment: HeardSegment) -> list[Timed]:
    """The segment's words in the recording's time, in order, inside the segment; estimated where none have a time."""
    said = segment.words or _estimated(segment)
    words: list[Timed] = []
    begin = segment.start_ms
    for word in said:
        start = min(max(segment.start_ms + word.start_ms, begin), segment.end_ms)
        end = min(max(segment.start_ms + word.end_ms, start), segment.end_ms)
        texts = word.text.split()
        for number, text in enumerate(texts):
            first = start + (end - start) * number // len(texts)
            last = start + (end - start) * (number + 1) // len(texts)
            words.append(Timed(text, first, last, segment.confidence, segment.language, bool(segment.words)))
        begin = start
    return words


def _estimated(segment: HeardSegment) -> list[Word]:
    """Words without times, spread over the segment by their lengths."""
    texts = (segment.text or "").split()
    total = sum(len(text) + 1 for text in texts)
    length, words, position = segment.end_ms - segment.start_ms, [], 0
    for text in texts:
        start, position = position, position + len(text) + 1
        words.append(Word(text=text, start_ms=length * start // total, end_ms=length * position // total))
    return words


def _words_of(heard: Sequence[_Heard]) -> list[Timed]:
    """All words, those of an overlap once."""
    words: list[Timed] = []
    last: HeardSegment | None = None
    for each in heard:
        if last is not None and each.segment.start_ms < last.end_ms:
            words = joined(words, each.words, Span(each.segment.start_ms, last.end_ms))
        else:
            words += each.words
        last = each.segment
    return words


def _runs(words: Sequence[Timed], missing: Sequence[Stretch]) -> list[list[Timed]]:
    """Words without a long pause, a change of language or something missing between them."""
    runs: list[list[Timed]] = []
    gaps = [stretch.start_ms for stretch in missing]
    for word in words:
        before = runs[-1][-1] if runs else None
        if before is None or _apart(before, word) or any(before.start_ms <= gap < word.end_ms for gap in gaps):
            runs.append([word])
        else:
            runs[-1].append(word)
    return runs


def _apart(before: Timed, word: Timed) -> bool:
    pause = _PAUSE_MS if before.timed and word.timed else _ESTIMATED_PAUSE_MS
    return word.start_ms - before.end_ms >= pause or word.language != before.language


def _passage(words: Sequence[Timed]) -> Passage:
    return Passage(
        start_ms=words[0].start_ms,
        end_ms=max(word.end_ms for word in words),
        text=spoken([word.text for word in words]),
        words=[Word(text=word.text, start_ms=word.start_ms, end_ms=word.end_ms) for word in words],
        confidence=_confidence(words),
        language=words[0].language,
    )


def spoken(texts: Sequence[str]) -> str:
    """Words as a text: with a space between them, except in scripts that put none there."""
    return "".join(separator(before, text) + text for before, text in zip(["", *texts], texts, strict=False))


def separator(before: str, after: str) -> str:
    """What stands between two words."""
    if not before or not after or (_UNSPACED.match(before[-1]) and _UNSPACED.match(after[0])):
        return ""
    return " "


def columns(text: str) -> int:
    """How wide a text is on a screen, where letters of East Asian scripts take two columns and marks above none."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _confidence(words: Sequence[Timed]) -> float | None:
    known = [word.confidence for word in words if word.confidence is not None]
    return round(sum(known) / len(known), 4) if known else None


def _most_spoken(words: Sequence[Timed]) -> str | None:
    counts: dict[str, int] = {}
    for word in words:
        if word.language is not None:
            counts[word.language] = counts.get(word.language, 0) + 1
    return max(counts, key=lambda language: counts[language]) if counts else None
