"""Joining the words of two segments that share some seconds: each word once. Pure.

Both sides heard the words of the overlap, except perhaps those that the segments' ends divided. The words that both
heard at about the same time are paired; one such pair is the seam: what comes before it is taken from the left side,
what comes after it from the right. So a word at a divided end counts for neither.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared.jobs.media_models import Span

# Two hearings of one word differ by some tens of milliseconds; two words of the same text lie further apart.
_USUAL_DIFFERENCE_MS: Final = 40.0
_LARGEST_DIFFERENCE_MS: Final = 400
# Estimated times say little: there the order of the words decides.
_ESTIMATED_SLACK_MS: Final = 4_000
_DISTANCE_WEIGHT: Final = 0.25


@dataclass(frozen=True)
class Timed:
    """A word in the recording's time. `timed` is False where the time was estimated."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float | None = None
    language: str | None = None
    timed: bool = True

    @property
    def middle_ms(self) -> float:
        return (self.start_ms + self.end_ms) / 2


def joined(left: Sequence[Timed], right: Sequence[Timed], overlap: Span) -> list[Timed]:
    """The words of both sides, those of the overlap once."""
    timed = all(word.timed for word in (*left[-1:], *right[:1]))
    slack = _LARGEST_DIFFERENCE_MS if timed else _ESTIMATED_SLACK_MS
    first = next((at for at, word in enumerate(left) if word.end_ms > overlap.start_ms - slack), len(left))
    stop = next((at for at, word in enumerate(right) if word.start_ms >= overlap.end_ms + slack), len(right))
    seam = _seam(left[first:], right[:stop], overlap, timed=timed)
    if seam is None:
        return _by_time(left, right, (overlap.start_ms + overlap.end_ms) / 2)
    return [*left[: first + seam[0] + 1], *right[seam[1] + 1 :]]


def _seam(left: Sequence[Timed], right: Sequence[Timed], overlap: Span, *, timed: bool) -> tuple[int, int] | None:
    """The pair to change sides at: of the words that both heard, one heard alike and far from both ends."""
    middle = (overlap.start_ms + overlap.end_ms) / 2
    pairs = _paired(left, right, timed=timed)
    if not pairs:
        return None

    def unfit(pair: tuple[int, int]) -> float:
        one, other = left[pair[0]], right[pair[1]]
        place = abs((one.middle_ms + other.middle_ms) / 2 - middle)
        return place * _DISTANCE_WEIGHT + (abs(one.middle_ms - other.middle_ms) if timed else 0.0)

    return min(pairs, key=unfit)


def _paired(left: Sequence[Timed], right: Sequence[Timed], *, timed: bool) -> list[tuple[int, int]]:
    """The best alignment of the two sides: pairs of places, in order on both."""
    best = [[0.0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in range(len(left) - 1, -1, -1):
        for j in range(len(right) - 1, -1, -1):
            paired = _likeness(left[i], right[j], timed=timed)
            best[i][j] = max(best[i + 1][j], best[i][j + 1], paired + best[i + 1][j + 1] if paired else 0.0)
    pairs, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        paired = _likeness(left[i], right[j], timed=timed)
        if paired and best[i][j] == paired + best[i + 1][j + 1]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


def _likeness(one: Timed, other: Timed, *, timed: bool) -> float:
    """How surely both are the same word; 0 where they are not."""
    if folded(one.text) != folded(other.text):
        return 0.0
    if not timed:
        return 1.0
    difference = abs(one.middle_ms - other.middle_ms)
    return math.exp(-difference / _USUAL_DIFFERENCE_MS) if difference <= _LARGEST_DIFFERENCE_MS else 0.0


def folded(text: str) -> str:
    """A word without what recognizers write one way here and another way there: case, accents' form, punctuation."""
    kept = [letter for letter in unicodedata.normalize("NFKC", text).casefold() if letter.isalnum()]
    return "".join(kept) or text


def _by_time(left: Sequence[Timed], right: Sequence[Timed], middle: float) -> list[Timed]:
    """Where both heard different words: each side up to the middle, and a word across the middle once."""
    before, unsaid = _split(left, middle)
    early, after = _split(right, middle)
    if before and after and _same_place(before[-1], after[0]):
        after = after[1:]
    if unsaid and early and _same_place(unsaid[0], early[-1]):
        before = [*before, unsaid[0]]
    return [*before, *after]


def _split(words: Sequence[Timed], middle: float) -> tuple[list[Timed], list[Timed]]:
    return [word for word in words if word.middle_ms < middle], [word for word in words if word.middle_ms >= middle]


def _same_place(one: Timed, other: Timed) -> bool:
    """Whether two words take up the same time: more than half of the shorter one."""
    shared = min(one.end_ms, other.end_ms) - max(one.start_ms, other.start_ms)
    return shared > min(one.end_ms - one.start_ms, other.end_ms - other.start_ms) / 2
