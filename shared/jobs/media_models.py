"""What the sound of slow work is made of. Times are milliseconds of the whole recording unless told otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True)
class Span:
    """A stretch of a recording."""

    start_ms: int
    end_ms: int

    @property
    def length_ms(self) -> int:
        return self.end_ms - self.start_ms


@dataclass(frozen=True)
class Window:
    """What was measured in one window of sound: how surely somebody speaks (0 to 1), and the power of its samples.

    `power` is the mean square of the samples, where full scale is 1.
    """

    speech: float
    power: float


@dataclass(frozen=True)
class Cut:
    """A segment, in windows from the recording's start; `stop` is the first window behind it.

    `shared_before` and `shared_after` are the windows that it has in common with the segments beside it, because the
    cut between them had to be made while somebody spoke.
    """

    start: int
    stop: int
    shared_before: int = 0
    shared_after: int = 0


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording to be recognized by itself. `data` is a FLAC file: 16 kHz, mono.

    `overlap_before_ms` and `overlap_after_ms` say how much of it the segments beside it hold too.
    """

    index: int
    start_ms: int
    end_ms: int
    overlap_before_ms: int
    overlap_after_ms: int
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class RecordingReport:
    """What was found in a recording when all of it had been read. `skipped` are the stretches that are damaged."""

    duration_ms: int
    speech_ms: int
    segments: int
    skipped: tuple[Span, ...]


class Word(BaseModel):
    """A word and when it is said."""

    model_config = ConfigDict(frozen=True)

    text: str
    start_ms: int
    end_ms: int


class HeardSegment(BaseModel):
    """What was heard in one segment. The times of `words` count from the segment's start.

    `text` is None where the segment could not be recognized, and empty where nothing was said. Without `words` the
    times of the words are estimated.
    """

    model_config = ConfigDict(frozen=True)

    start_ms: int
    end_ms: int
    overlap_before_ms: int = 0
    overlap_after_ms: int = 0
    text: str | None
    words: tuple[Word, ...] = ()
    confidence: float | None = None
    language: str | None = None


class Passage(BaseModel):
    """A run of a transcript without a long pause."""

    start_ms: int
    end_ms: int
    text: str
    words: list[Word]
    confidence: float | None
    language: str | None


class Stretch(BaseModel):
    """A stretch of the recording that is missing from the transcript, and why."""

    start_ms: int
    end_ms: int
    reason: Literal["damaged", "not_recognized"]


class AssembledTranscript(BaseModel):
    """The transcript of a whole recording: the JSON form, from which the others follow."""

    duration_ms: int
    language: str | None
    confidence: float | None
    text: str
    passages: list[Passage]
    missing: list[Stretch]


@dataclass(frozen=True)
class Cue:
    """One subtitle: at most two lines."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class TextPart:
    """What one synthesis speaks. `chapter` is the heading of the chapter that begins with it, if one does."""

    index: int
    text: str
    chapter: str | None = None


@dataclass(frozen=True)
class Chapter:
    """A place in a spoken text. `end_ms` is where the next one begins, or the end."""

    title: str
    start_ms: int
    end_ms: int
