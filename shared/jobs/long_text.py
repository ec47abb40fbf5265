"""Long texts, cut into what one synthesis takes, at the ends of sentences, with a mark where each chapter begins.

Pure, though no rules module: it stands on the sentences of the voice room.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shared.jobs.media_models import TextPart
from shared.runtime.errors import TooLarge, Unprocessable
from shared.voice.rules import MAX_SPEECH_BYTES, plain
from shared.voice.sentences import SentenceCutter

MAX_CHARACTERS: Final = 200_000

_HEADING: Final = re.compile(r"#{1,6}\s+(?P<title>.*?)\s*#*")
_NAMED: Final = re.compile(
    r"(chapter|part|book|section|prologue|epilogue|kapitel|teil|abschnitt|chapitre|partie|capítulo|parte|capitolo)\b.{0,80}",
    re.IGNORECASE,
)
_ENDS_SENTENCE: Final = ".!?…:;,"
_RULE: Final = re.compile(r"[-*_=~\s]{3,}")
# A closer heading is spoken and not marked: each mark costs a synthesis of its own.
_CHAPTER_CHARACTERS: Final = 400
# A text without headings has marks at its paragraphs, no closer than this.
_PARAGRAPHS_CHARACTERS: Final = 1_500
_TITLE_CHARACTERS: Final = 60
# The cutter looks at all that it holds whenever it is fed.
_FED_CHARACTERS: Final = 400


@dataclass
class _Chapter:
    title: str | None
    paragraphs: list[str]

    @property
    def characters(self) -> int:
        return sum(map(len, self.paragraphs))


def split(text: str, limit_bytes: int = MAX_SPEECH_BYTES) -> list[TextPart]:
    """Parts of at most `limit_bytes` of UTF-8 each, in order; a chapter begins with a part of its own.

    Raises:
        Unprocessable: nothing in it can be spoken (`text_empty`).
        TooLarge: more than 200,000 characters (`text_too_long`).
    """
    if len(text) > MAX_CHARACTERS:
        raise TooLarge(
            f"The text has {len(text):,} characters; {MAX_CHARACTERS:,} are the limit. Send it in several jobs.",
            code="text_too_long",
        )
    parts: list[TextPart] = []
    for chapter in _chapters(text):
        title = chapter.title
        for piece in _packed(chapter.paragraphs, limit_bytes):
            parts.append(TextPart(len(parts), piece, title))
            title = None
    if not parts:
        raise Unprocessable("There is nothing in this text that could be spoken.", code="text_empty")
    return parts


def _chapters(text: str) -> list[_Chapter]:
    paragraphs = [block.strip() for block in re.split(r"\n[^\S\n]*\n\s*", text.replace("\r\n", "\n")) if block.strip()]
    chapters = [_Chapter(None, [])]
    for paragraph in paragraphs:
        heading, rest = _heading(paragraph)
        if heading is not None and (chapters[-1].title is None or chapters[-1].characters >= _CHAPTER_CHARACTERS):
            chapters.append(_Chapter(heading, [heading]))
        elif heading is not None:
            chapters[-1].paragraphs.append(heading)
        if rest and not _RULE.fullmatch(rest):
            chapters[-1].paragraphs.append(rest)
    return _by_paragraphs(chapters[0].paragraphs) if len(chapters) == 1 else chapters


def _heading(paragraph: str) -> tuple[str | None, str]:
    """The heading that a paragraph is or begins with, and what follows it."""
    first, _, rest = paragraph.partition("\n")
    marked = _HEADING.fullmatch(first.strip())
    if marked and marked.group("title"):
        return plain(marked.group("title")), rest.strip()
    if not rest and _NAMED.fullmatch(paragraph) and paragraph[-1] not in _ENDS_SENTENCE:
        return plain(paragraph), ""
    return None, paragraph


def _by_paragraphs(paragraphs: list[str]) -> list[_Chapter]:
    chapters: list[_Chapter] = []
    for paragraph in paragraphs:
        if not chapters or chapters[-1].characters >= _PARAGRAPHS_CHARACTERS:
            chapters.append(_Chapter(_opening(paragraph), []))
        chapters[-1].paragraphs.append(paragraph)
    # A text of one piece has no chapters.
    return chapters if len(chapters) > 1 else [_Chapter(None, paragraphs)]


def _opening(paragraph: str) -> str | None:
    """The first words of a paragraph, as its name."""
    words = plain(paragraph)
    if len(words) <= _TITLE_CHARACTERS:
        return words or None
    return (
        words[:_TITLE_CHARACTERS].rpartition(" ")[0] + "…"
        if " " in words[:_TITLE_CHARACTERS]
        else words[:_TITLE_CHARACTERS]
    )


def _packed(paragraphs: list[str], limit_bytes: int) -> Iterator[str]:
    """As many sentences as fit into each piece."""
    piece = ""
    for number, paragraph in enumerate(paragraphs):
        between = "\n" if number else ""
        for sentence in _sentences(paragraph):
            for part in _within(sentence, limit_bytes):
                longer = piece + between + part if piece else part
                if len(longer.encode()) > limit_bytes:
                    yield piece
                    longer = part
                piece, between = longer, " "
    if piece:
        yield piece


def _sentences(paragraph: str) -> Iterator[str]:
    """The paragraph's sentences, without marks that nobody speaks, and without the sentences that hold nothing else."""
    cutter = SentenceCutter()
    # Lines of one paragraph are one text: who wrote them broke them for the eye.
    flowing = plain(paragraph)
    for start in range(0, len(flowing), _FED_CHARACTERS):
        yield from cutter.feed(flowing[start : start + _FED_CHARACTERS])
    rest = cutter.rest()
    if rest is not None:
        yield rest


def _within(sentence: str, limit_bytes: int) -> Iterator[str]:
    """The sentence, or where it is too long its words, or where one is too long its letters, as many as fit."""
    piece = ""
    for word in re.findall(r"\s*\S+", sentence):
        for run in _letters(word, limit_bytes):
            if len((piece + run).encode()) > limit_bytes:
                yield piece.strip()
                piece = ""
            piece += run
    if piece.strip():
        yield piece.strip()


def _letters(word: str, limit_bytes: int) -> Iterator[str]:
    if len(word.encode()) <= limit_bytes:
        yield word
        return
    run = ""
    for letter in word:
        if len((run + letter).encode()) > limit_bytes:
            yield run
            run = ""
        run += letter
    yield run
