"""Pure decisions about sessions: what they are called."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

TITLE_GIVEN_MAX: Final = 200
TITLE_MADE_MAX: Final = 60

# More than any title needs, and little enough that a very long message costs no more than a short one.
_READ_CHARACTERS: Final = 1000
_ELLIPSIS: Final = "…"
_JOINER: Final = "\u200d"
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# What people say before they say what they want. Longer phrases first, so that the longest one is taken.
_OPENINGS: Final = (
    "good morning", "good afternoon", "good evening", "hello there", "hi there", "hey there", "hello", "hey", "hi",
    "i would like you to", "i'd like you to", "i would like to", "i'd like to", "i want you to", "i need you to",
    "i want to", "i need to", "can you please", "could you please", "would you please", "will you please",
    "can you", "could you", "would you", "will you", "can i", "could i", "may i", "please", "okay", "ok", "um", "uh",
    "guten morgen", "guten tag", "guten abend", "hallo", "bitte", "kannst du", "können sie", "könntest du",
    "bonjour", "bonsoir", "salut", "s'il te plaît", "s'il vous plaît", "peux-tu", "pouvez-vous",
    "buenos días", "buenas tardes", "hola", "por favor", "puedes",
    "buongiorno", "ciao", "per favore", "olá", "oi", "bom dia",
)  # fmt: skip
# An opening ends where a word ends: "hi-fi" and "please's" are words of their own.
_OPENING: Final = re.compile(
    r"\W*(?:"
    + "|".join(re.escape(phrase).replace("'", "['\u2019]") for phrase in _OPENINGS)
    + r")(?=[\s,.!?;:…]|$)[\s,.!?;:…]*",
    re.IGNORECASE,
)


def title_from(said: str) -> str | None:
    """A session's title, made from the first thing its person said.

    Returns:
        At most 60 characters, cut at a word's end; None where nothing was said that could be a title.
    """
    text = " ".join(_CONTROLS.sub(" ", said).split())[:_READ_CHARACTERS]
    text = _without_openings(text).rstrip(" .,;:!")
    if not _says_something(text):
        return None
    return _capitalised(_cut(text))


def _says_something(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _without_openings(text: str) -> str:
    while match := _OPENING.match(text):
        rest = text[match.end() :]
        if not _says_something(rest):
            break
        text = rest
    return text


def _cut(text: str) -> str:
    if len(text) <= TITLE_MADE_MAX:
        return text
    room = TITLE_MADE_MAX - len(_ELLIPSIS)
    end = text.rfind(" ", 0, room + 1)
    if end <= 0:
        end = room
        # Scripts without spaces are cut between letters, but never between a letter and what belongs to it.
        while end > 1 and (_clings(text[end]) or text[end - 1] == _JOINER):
            end -= 1
    return text[:end].rstrip(" .,;:!?-") + _ELLIPSIS


def _clings(char: str) -> bool:
    return unicodedata.category(char) in {"Mn", "Mc", "Me", "Cf", "Sk"}


def _capitalised(text: str) -> str:
    for place, char in enumerate(text):
        if char.isalnum():
            upper = char.title()
            return text[:place] + (upper if len(upper) == 1 else char) + text[place + 1 :]
    return text
