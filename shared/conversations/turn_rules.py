"""Pure decisions of a turn: what it leaves, and where in the reply each piece of audio stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class SpokenPiece:
    """A piece of audio as it was given out: the sentences that begin with it, and its place in time."""

    seq: int
    text: str
    starts_seconds: float
    seconds: float


def speech_timeline(reply: str, pieces: Sequence[SpokenPiece]) -> list[dict[str, int]]:
    """For each piece the characters of the reply that it holds, so that what was played tells what was heard.

    Sentences stand in the reply in order and verbatim. A piece that continues a sentence shares it with the one
    before, in proportion to their length.
    """
    timeline: list[dict[str, int]] = []
    cursor = 0
    for group in _grouped(pieces):
        start = _find(reply, group[0].text, cursor)
        cursor = start + len(group[0].text)
        seconds = sum(piece.seconds for piece in group) or 1.0
        at = float(start)
        for piece in group:
            share = (cursor - start) * piece.seconds / seconds
            timeline.append(
                {
                    "seq": piece.seq,
                    "start_ms": round(piece.starts_seconds * 1000),
                    "end_ms": round((piece.starts_seconds + piece.seconds) * 1000),
                    "chars_start": round(at),
                    "chars_end": round(at + share),
                }
            )
            at += share
    return timeline


def _grouped(pieces: Iterable[SpokenPiece]) -> list[list[SpokenPiece]]:
    groups: list[list[SpokenPiece]] = []
    for piece in pieces:
        if piece.text or not groups:
            groups.append([piece])
        else:
            groups[-1].append(piece)
    return groups


def _find(reply: str, text: str, cursor: int) -> int:
    """Where the text begins; several sentences together may be spaced differently there, so the first words decide."""
    found = reply.find(text, cursor)
    if found == -1:
        found = reply.find(text[:20], cursor)
    return found if found != -1 else cursor


def rounded(timings: Mapping[str, float]) -> dict[str, int]:
    return {name: max(round(value), 0) for name, value in timings.items()}
