"""Subtitles of a transcript: SubRip (SRT) and WebVTT (https://www.w3.org/TR/webvtt1/). Pure.

At most two lines of 42 columns and seven seconds, as broadcasters and streaming services ask for.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import Final

from shared.jobs.media_models import Cue, Passage, Word
from shared.jobs.transcript_rules import columns, spoken

LINE_COLUMNS: Final = 42
LINES: Final = 2
LONGEST_MS: Final = 7_000
_SHORTEST_MS: Final = 1_000
_PAUSE_MS: Final = 700
_ENDS_SENTENCE: Final = (".", "!", "?", "…", "。", "！", "？")  # noqa: RUF001 - full stops of scripts that look alike
# A sentence's end is a place to break once there is something to read.
_WORTH_A_CUE: Final = 20


def cues(passages: Sequence[Passage]) -> list[Cue]:
    """The subtitles, in order; none overlaps the next."""
    made: list[Cue] = []
    groups = [group for passage in passages for group in _groups(passage.words)]
    for number, group in enumerate(groups):
        following = groups[number + 1][0].start_ms if number + 1 < len(groups) else None
        start = max(group[0].start_ms, made[-1].end_ms if made else 0)
        end = max(max(word.end_ms for word in group), start + _SHORTEST_MS)
        if following is not None:
            end = min(end, max(following, start + 1))
        lines = _lines([word.text for word in group])
        assert lines is not None
        made.append(Cue(start, min(end, start + LONGEST_MS), lines))
    return made


def _groups(words: Sequence[Word]) -> Iterator[list[Word]]:
    group: list[Word] = []
    for word in _in_reach(words):
        if group and _breaks(group, word):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _breaks(group: Sequence[Word], word: Word) -> bool:
    """Whether a new subtitle begins with this word."""
    texts = [each.text for each in group]
    if word.end_ms - group[0].start_ms > LONGEST_MS or word.start_ms - group[-1].end_ms >= _PAUSE_MS:
        return True
    if texts[-1].endswith(_ENDS_SENTENCE) and columns(spoken(texts)) >= _WORTH_A_CUE:
        return True
    return _lines([*texts, word.text]) is None


def _in_reach(words: Sequence[Word]) -> Iterator[Word]:
    """The words; one that is wider than a line in several pieces, and none longer than a subtitle may be shown."""
    for word in words:
        pieces = _pieces(word.text)
        length = min(word.end_ms - word.start_ms, LONGEST_MS)
        for number, piece in enumerate(pieces):
            yield Word(
                text=piece,
                start_ms=word.start_ms + length * number // len(pieces),
                end_ms=word.start_ms + length * (number + 1) // len(pieces),
            )


def _pieces(text: str) -> list[str]:
    pieces = [""]
    for letter in text:
        if columns(pieces[-1] + letter) > LINE_COLUMNS:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _lines(texts: Sequence[str]) -> tuple[str, ...] | None:
    """The words on one line, or on two of about the same width; None where they do not fit."""
    whole = spoken(texts)
    if columns(whole) <= LINE_COLUMNS:
        return (whole,)
    fitting = []
    for at in range(1, len(texts)):
        upper, lower = spoken(texts[:at]), spoken(texts[at:])
        widths = columns(upper), columns(lower)
        if max(widths) <= LINE_COLUMNS:
            fitting.append((abs(widths[0] - widths[1]), (upper, lower)))
    return min(fitting)[1] if fitting else None


def srt(subtitles: Sequence[Cue]) -> str:
    """As SubRip has them: numbered, with commas in the times."""
    return "".join(
        f"{number}\n{_time(cue.start_ms, ',')} --> {_time(cue.end_ms, ',')}\n{_plain(cue)}\n\n"
        for number, cue in enumerate(subtitles, 1)
    )


def vtt(subtitles: Sequence[Cue]) -> str:
    """As WebVTT has them: a header, points in the times, and marks escaped."""
    return "WEBVTT\n\n" + "".join(
        f"{_time(cue.start_ms, '.')} --> {_time(cue.end_ms, '.')}\n{_escaped(cue)}\n\n" for cue in subtitles
    )


def _escaped(cue: Cue) -> str:
    return html.escape("\n".join(cue.lines), quote=False)


def _plain(cue: Cue) -> str:
    # An arrow would be read as a line of times.
    return "\n".join(cue.lines).replace("-->", "->")


def _time(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{rest:03}"
