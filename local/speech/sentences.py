"""Cuts text that arrives in pieces into what can be spoken already."""

from __future__ import annotations

import re
from typing import Final

_END: Final = re.compile(r"""[.!?…]+["'\u2019\u201d)\]]*(?=\s)|\n+""")
_WHOLE: Final = re.compile(r"""[.!?…]["'\u2019\u201d)\]]*\s*$""")
# a period after these does not end a sentence, nor does one after a single capital or a digit at the end of a piece
_ABBREVIATED: Final = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|No|e\.g|i\.e)|\b[A-Z])\.$")


def take_sentences(text: str) -> tuple[list[str], str]:
    """The whole sentences at the text's beginning, and the rest that may still go on.

    A sentence that ends where the text ends counts as whole, so that a client that sends one sentence in each message
    waits for nothing; after a digit ("3." before "14") it may go on.
    """
    sentences: list[str] = []
    start = 0
    for found in _END.finditer(text):
        sentence = text[start : found.end()].strip()
        if _ABBREVIATED.search(sentence):
            continue
        if sentence:
            sentences.append(sentence)
        start = found.end()
    rest = text[start:]
    if _ends_whole(rest):
        return [*sentences, rest.strip()], ""
    return sentences, rest.lstrip()


def _ends_whole(text: str) -> bool:
    last = text.rstrip()
    if not _WHOLE.search(text) or _ABBREVIATED.search(last):
        return False
    return text != last or not re.search(r"\d\.$", last)
