"""Cutting a text that is still being written into sentences, as early as can be done without cutting wrongly.

Pure. A sentence is given out at its full stop, not at the first letter of the next one, whenever the stop cannot be
part of something longer: at forty milliseconds a token, waiting for one more token would be heard.
"""

from __future__ import annotations

import re

_FINAL = ".!?…。！？；\n।؟"
_WIDE = "。！？；।"
_CLOSERS = "\"'”’)]»」』"
# Words that end in a full stop without ending a sentence, in the languages we hear most.
_ABBREVIATIONS = frozenset(
    [
        "www",
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "sr",
        "jr",
        "st",
        "vs",
        "etc",
        "eg",
        "ie",
        "approx",
        "no",
        "nr",
        "vol",
        "fig",
        "dept",
        "est",
        "inc",
        "ltd",
        "co",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
        "mon",
        "tue",
        "wed",
        "thu",
        "fri",
        "sat",
        "sun",
        "bzw",
        "ca",
        "evtl",
        "ggf",
        "inkl",
        "str",
        "usw",
        "z.b",
        "d.h",
        "u.a",
        "m",
        "mme",
        "mlle",
        "env",
        "ej",
        "ud",
        "uds",
        "sig",
        "dott",
        "p.m",
        "a.m",
    ]
)
_LONGEST = 400
_STOP = re.compile(rf"[{re.escape(_FINAL)}]+[{re.escape(_CLOSERS)}]*")
_LAST_WORD = re.compile(r"[^\s(\[\"“]+$")
_SOFT_STOP = re.compile(r"[,;:，、–—]\s|\s")


class SentenceCutter:
    """Feed it deltas, get whole sentences, each a verbatim part of what was fed, in order and without overlap.

    Only what cannot be said is left out: white space, lone punctuation, symbols.
    """

    def __init__(self) -> None:
        self._pending = ""

    def feed(self, delta: str) -> list[str]:
        """Take more text and return the sentences that are now complete."""
        self._pending += delta
        sentences: list[str] = []
        while (end := _first_end(self._pending)) is not None:
            sentence, self._pending = self._pending[:end].strip(), self._pending[end:]
            if _speakable(sentence):
                sentences.append(sentence)
        return sentences

    def rest(self) -> str | None:
        """What remains when the text has ended; None where that is nothing one could say."""
        sentence, self._pending = self._pending.strip(), ""
        return sentence if _speakable(sentence) else None


def _first_end(text: str) -> int | None:
    for stop in _STOP.finditer(text):
        if _ends_sentence(text, stop.start(), stop.end()):
            return stop.end()
    if len(text) > _LONGEST:
        return _soft_end(text)
    return None


def _ends_sentence(text: str, start: int, end: int) -> bool:
    mark = text[start]
    if mark in _WIDE or mark == "\n":
        return True
    following = text[end : end + 1]
    if following and not following.isspace():
        return False
    if mark != ".":
        return True
    word = _LAST_WORD.search(text[:start])
    before = word.group() if word else ""
    if _may_continue(before):
        # A number, an initial or an abbreviation: only a following capital letter tells that the sentence is over.
        return bool(re.match(r"\s+[A-ZÀ-ÞĀ-Ž]", text[end:])) and not _abbreviated(before)
    return True


def _may_continue(word: str) -> bool:
    return not word or word[-1].isdigit() or len(word) == 1 or "." in word or _abbreviated(word)


def _abbreviated(word: str) -> bool:
    return word.lower() in _ABBREVIATIONS or (len(word) == 1 and word.isalpha() and word.isupper())


def _soft_end(text: str) -> int:
    """Where to cut a sentence that is too long to wait for: at the last comma, or else the last space, in reach."""
    reach = text[:_LONGEST]
    commas = [match.end() for match in _SOFT_STOP.finditer(reach) if not match.group().isspace()]
    if commas:
        return commas[-1]
    space = reach.rfind(" ")
    return space + 1 if space > 0 else _LONGEST


def _speakable(sentence: str) -> bool:
    return any(character.isalnum() for character in sentence)
