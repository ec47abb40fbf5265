"""Where a recording is cut into stretches that can be recognized by themselves. Pure: it decides over measured windows.

A cut is made in the middle of a silence, so that no word is divided. A detector can miss words that noise covers, so
a silence counts only where it is as quiet as the segment is anywhere. Where nobody pauses, the cut is made at the
quietest place, and both sides take a second and a half around it: each word is whole on one of them, and the assembly
takes out what was heard twice. Only long silences are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from shared.jobs.media_models import Cut, Window

WINDOW_MS: Final = 32
# The provider takes 60 s in one call.
LONGEST_MS: Final = 55_000

_LONGEST: Final = LONGEST_MS // WINDOW_MS
_BEGINS, _CONTINUES = 0.5, 0.35
# One window can be a click.
_SHORTEST_SPEECH: Final = 2
_SHORTEST_SILENCE: Final = 416 // WINDOW_MS
# The first and last sounds of a word are softer than the detector hears.
_MARGIN: Final = 320 // WINDOW_MS
# Nobody pays for the recognition of a longer silence.
_LONG_SILENCE: Final = 5_120 // WINDOW_MS
# No word lasts longer than half of this.
_SHARED: Final = 3_072 // WINDOW_MS
# How much louder than the quietest tenth of a segment its silences may be, and how quiet is quiet in any case.
_CLEAR, _QUIET_SHARE = 3.0, 1e-3
_SEARCHED: Final = 16_000 // WINDOW_MS
_SMOOTHED: Final = 5


@dataclass
class _Open:
    """The segment that is growing. `powers` are those of its windows."""

    start: int
    shared_before: int
    powers: list[float] = field(default_factory=list)
    silences: list[tuple[int, int]] = field(default_factory=list)
    spoken_until: int = 0


class Cutter:
    """Feed it the windows of a recording in their order; it gives the cuts as soon as they are certain."""

    def __init__(self) -> None:
        self._windows = 0
        self._floor = 0
        self._run = 0
        self._speaking = False
        self._silent_since = 0
        self._open: _Open | None = None
        self._recent: list[float] = []
        self.spoken_windows = 0

    @property
    def needed_from(self) -> int:
        """The first window that a coming cut may hold; the sound before it may be forgotten."""
        if self._open is not None:
            return self._open.start
        return max(self._floor, self._windows - self._run - _MARGIN)

    def feed(self, window: Window) -> list[Cut]:
        """Take the next window."""
        at = self._windows
        self._windows += 1
        self._recent = [*self._recent[-(_MARGIN + _SHORTEST_SPEECH) :], window.power]
        if self._open is not None:
            self._open.powers.append(window.power)
        self._follow(at, window.speech)
        if self._open is not None and self._silence(self._windows) >= _LONG_SILENCE:
            return self._close(self._open)
        if self._open is not None and self._windows - self._open.start >= _LONGEST:
            return [self._divide(self._open)]
        return []

    def finish(self) -> list[Cut]:
        """The last cut; nothing may be fed afterwards."""
        return [] if self._open is None else self._close(self._open)

    def _follow(self, at: int, speech: float) -> None:
        """Whether somebody speaks: it takes more to begin than to go on."""
        if self._speaking:
            if speech < _CONTINUES:
                self._speaking, self._silent_since, self._run = False, at, 0
        else:
            self._run = self._run + 1 if speech >= _BEGINS else 0
            if self._run == _SHORTEST_SPEECH:
                self._begin(at + 1 - self._run)
                self.spoken_windows += self._run - 1
        if self._speaking:
            self.spoken_windows += 1
            if self._open is not None:
                self._open.spoken_until = at + 1

    def _begin(self, at: int) -> None:
        self._speaking, self._run = True, 0
        if self._open is None:
            start = max(self._floor, at - _MARGIN)
            self._open = _Open(start, 0, self._recent[start - self._windows :])
        elif at - self._silent_since >= _SHORTEST_SILENCE:
            self._open.silences.append((self._silent_since, at))

    def _silence(self, until: int) -> int:
        return 0 if self._speaking else until - self._silent_since

    def _close(self, segment: _Open) -> list[Cut]:
        """End it behind its last word; without any there is nothing to recognize."""
        stop = min(segment.spoken_until + _MARGIN, self._windows)
        self._open, self._floor = None, max(stop, segment.start)
        if segment.spoken_until <= segment.start + segment.shared_before:
            return []
        return [Cut(segment.start, stop, segment.shared_before)]

    def _divide(self, segment: _Open) -> Cut:
        silences = list(segment.silences)
        if self._silence(self._windows) >= _SHORTEST_SILENCE:
            silences.append((self._silent_since, self._windows))
        place = _best_place(segment, silences)
        if place is None:
            return self._divide_in_speech(segment)
        later = [each for each in segment.silences if each[0] > place]
        self._open = _Open(place, 0, segment.powers[place - segment.start :], later, segment.spoken_until)
        return Cut(segment.start, place, segment.shared_before)

    def _divide_in_speech(self, segment: _Open) -> Cut:
        half = _SHARED // 2
        last = len(segment.powers) - half
        place = _quietest(segment.powers, max(last - _SEARCHED, 0), last)
        start, stop = segment.start + place - half, segment.start + place + half
        self._open = _Open(start, _SHARED, segment.powers[start - segment.start :], [], segment.spoken_until)
        return Cut(segment.start, stop, segment.shared_before, _SHARED)


def _best_place(segment: _Open, silences: list[tuple[int, int]]) -> int | None:
    """The middle of the longest silence in the second half, or else of the last one before it; None without any.

    A silence that lies in what the segment shares with the one before would leave the assembly nothing to compare.
    """
    bound = _bound(segment.powers)
    first, half = segment.start + segment.shared_before, segment.start + _LONGEST // 2
    clear = [(begin, end) for begin, end in silences if begin >= first and _is_clear(segment, begin, end, bound)]
    late = [each for each in clear if each[0] >= half]
    if late:
        begin, end = max(late, key=lambda each: (each[1] - each[0], each[0]))
    elif clear:
        begin, end = clear[-1]
    else:
        return None
    return (begin + end) // 2


def _bound(powers: list[float]) -> float:
    """The most power that a silence may have."""
    lowest_tenth = sorted(powers)[len(powers) // 10]
    return _CLEAR * max(lowest_tenth, _QUIET_SHARE * sum(powers) / len(powers))


def _is_clear(segment: _Open, begin: int, end: int, bound: float) -> bool:
    middle = (begin + end) // 2 - segment.start
    around = segment.powers[max(middle - _SMOOTHED // 2, 0) : middle + _SMOOTHED // 2 + 1]
    return sum(around) / len(around) <= bound


def _quietest(powers: list[float], first: int, stop: int) -> int:
    """The middle of the run of windows with the least power; of equal ones the last."""
    sums = [sum(powers[at : at + _SMOOTHED]) for at in range(first, stop - _SMOOTHED + 1)]
    least = min(sums)
    return first + max(at for at, value in enumerate(sums) if value == least) + _SMOOTHED // 2
