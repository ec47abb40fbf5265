"""Gmail's search box: https://support.google.com/mail/answer/7190

Words match whole words, in any order; quotes keep the order. Nothing here does I/O.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

_TERM: Final = re.compile(r'\s*(?P<term>[(){}]|-?[\w]+:(?=[("{])|-(?=[("{])|"[^"]*"?|[^\s(){}"]+)')
# More brackets than this are nobody's question; they are read as if they were not there.
_DEEPEST: Final = 40
_WORD: Final = re.compile(r"\w+")
_HIDDEN: Final = ("SPAM", "TRASH")
_PLACES: Final = {"sent": "SENT", "drafts": "DRAFT", "draft": "DRAFT", "inbox": "INBOX", "spam": "SPAM",
                  "trash": "TRASH", "starred": "STARRED", "important": "IMPORTANT", "unread": "UNREAD",
                  "chats": "CHAT"}  # fmt: skip
_SIZES: Final = {"": 1, "k": 1024, "m": 1024 * 1024}
_AGE_DAYS: Final = {"d": 1.0, "m": 30.0, "y": 365.0, "h": 1 / 24}


@dataclass(frozen=True)
class Searchable:
    """A mail for the search. `labels` holds ids; `label_names` the names of those the person made, in lower case."""

    sender: str
    to: str
    cc: str
    bcc: str
    subject: str
    body: str
    filenames: tuple[str, ...]
    message_id: str
    list_id: str
    labels: frozenset[str]
    label_names: frozenset[str]
    received_at: float
    size: int


Test = Callable[[Searchable], bool]


@dataclass(frozen=True)
class Query:
    """A query that was read. `everywhere`: it named spam, trash or anywhere, which are left out otherwise."""

    test: Test
    everywhere: bool

    def matches(self, mail: Searchable) -> bool:
        return (self.everywhere or mail.labels.isdisjoint(_HIDDEN)) and self.test(mail)


def parse(text: str, now: float) -> Query:
    """Read a query; what makes no sense finds nothing or counts as words, as Gmail is never wrong about one.

    `now` is seconds since the epoch. Dates without a time begin at midnight UTC.
    """
    text = re.sub(r"-{2,}", "-", text)
    if sum(map(text.count, "({")) > _DEEPEST:
        text = re.sub(r"[(){}]", " ", text)
    terms = [match["term"] for match in _TERM.finditer(text) if match["term"]]
    reader = _Reader(terms, now)
    test = reader.alternatives(_anywhere, end=None)
    return Query(test, reader.everywhere)


class _Reader:
    def __init__(self, terms: list[str], now: float) -> None:
        self._terms = terms
        self._at = 0
        self._now = now
        self.everywhere = False

    def alternatives(self, field: Callable[[str], Test], end: str | None) -> Test:
        """Terms up to `end`: all must hold; OR binds the two beside it, more tightly than standing side by side."""
        every: list[Test] = []
        joined = False
        while (term := self._next()) is not None and term != end:
            if term == "OR":
                joined = bool(every)
                continue
            if term == "AND":
                continue
            test = self._term(term, field)
            if test is None:
                continue
            every[-1:] = [_any([every[-1], test])] if joined else [*every[-1:], test]
            joined = False
        return _any(every) if end == "}" else _all(every)

    def _next(self) -> str | None:
        if self._at == len(self._terms):
            return None
        self._at += 1
        return self._terms[self._at - 1]

    def _term(self, term: str, field: Callable[[str], Test]) -> Test | None:
        if term in (")", "}"):
            return None
        if term == "-":
            inner = self._following(field)
            return None if inner is None else _not(inner)
        if term.startswith("-") and len(term) > 1:
            inner = self._term(term[1:], field)
            return None if inner is None else _not(inner)
        if term in ("(", "{"):
            return self.alternatives(field, ")" if term == "(" else "}")
        name, colon, value = term.partition(":")
        if colon and name.lower() in _OPERATORS and not term.startswith('"'):
            operator = _OPERATORS[name.lower()]
            inside = functools.partial(self._noticed, name.lower(), operator)
            return inside(value) if value else self._following(inside)
        return field(term)

    def _following(self, field: Callable[[str], Test]) -> Test | None:
        """What an operator or a minus in front of brackets or quotes holds for; nothing where neither follows."""
        if self._at == len(self._terms) or self._terms[self._at][0] not in '({"':
            return None
        self._at += 1
        return self._term(self._terms[self._at - 1], field)

    def _noticed(self, name: str, operator: Callable[[str, float], Test], word: str) -> Test:
        if name in ("in", "label", "is") and word.strip('"').lower() in ("anywhere", "spam", "trash"):
            self.everywhere = True
        return operator(word.strip('"') if name in _BARE else word, self._now)


def _all(tests: list[Test]) -> Test:
    return lambda mail: all(test(mail) for test in tests)


def _any(tests: list[Test]) -> Test:
    return lambda mail: any(test(mail) for test in tests)


def _not(test: Test) -> Test:
    return lambda mail: not test(mail)


def contains(text: str, wanted: str) -> bool:
    """Whether the words of `wanted` stand in `text` one after the other, whole, in any case."""
    here, sought = (_WORD.findall(value.lower()) for value in (text, wanted))
    if not sought:
        return not wanted.strip('" ')
    return any(here[start : start + len(sought)] == sought for start in range(len(here) - len(sought) + 1))


def _anywhere(word: str) -> Test:
    return lambda mail: any(
        contains(text, word)
        for text in (mail.subject, mail.body, mail.sender, mail.to, mail.cc, mail.bcc, *mail.filenames)
    )


def _in_field(*names: str) -> Callable[[str, float], Test]:
    return lambda word, _: lambda mail: any(contains(getattr(mail, name), word) for name in names)


def _label(word: str, _: float) -> Test:
    name = word.lower()
    identity = _PLACES.get(name, word.upper())
    plainly = re.sub(r"[\s/]", "-", name)
    return lambda mail: (
        identity in mail.labels or any(re.sub(r"[\s/]", "-", own) == plainly for own in mail.label_names)
    )


def _place(word: str, now: float) -> Test:
    name = word.lower()
    if name == "anywhere":
        return lambda _: True
    if name == "archive":
        return lambda mail: mail.labels.isdisjoint({"INBOX", "TRASH", "SPAM", "DRAFT", "SENT"})
    return _label(word, now)


def _state(word: str, now: float) -> Test:
    if word.lower() == "read":
        return lambda mail: "UNREAD" not in mail.labels
    return _label(word, now)


def _category(word: str, _: float) -> Test:
    name = {"primary": "PERSONAL"}.get(word.lower(), word.upper())
    return lambda mail: f"CATEGORY_{name}" in mail.labels


def _has(word: str, _: float) -> Test:
    if word.lower() == "attachment":
        return lambda mail: bool(mail.filenames)
    if word.lower() == "userlabels":
        return lambda mail: bool(mail.label_names)
    if word.lower() == "nouserlabels":
        return lambda mail: not mail.label_names
    return lambda _: False


def _filename(word: str, _: float) -> Test:
    name = word.lower()
    return lambda mail: any(
        contains(own, name) or own.lower().endswith("." + name.lstrip(".")) for own in mail.filenames
    )


def moment(word: str) -> float | None:
    """Seconds since the epoch of a date in a query: `2026/4/16`, `2026-04-16`, `04/16/2026`, or the seconds."""
    if word.isdecimal() and len(word) > 4:
        return float(word)
    for form in ("%Y/%m/%d", "%Y-%m-%d", "%m/%d/%Y"):
        try:
            return datetime.strptime(word, form).replace(tzinfo=UTC).timestamp()
        except ValueError:
            continue
    return None


def _since(word: str, _: float) -> Test:
    start = moment(word)
    return (lambda _: False) if start is None else (lambda mail: mail.received_at >= start)


def _until(word: str, _: float) -> Test:
    end = moment(word)
    return (lambda _: False) if end is None else (lambda mail: mail.received_at < end)


def _age(word: str, now: float) -> float | None:
    found = re.fullmatch(r"(\d{1,4})([dmyh])", word.lower())
    return now - timedelta(days=int(found[1]) * _AGE_DAYS[found[2]]).total_seconds() if found else None


def _older(word: str, now: float) -> Test:
    end = _age(word, now)
    return (lambda _: False) if end is None else (lambda mail: mail.received_at < end)


def _newer(word: str, now: float) -> Test:
    start = _age(word, now)
    return (lambda _: False) if start is None else (lambda mail: mail.received_at >= start)


def _bytes(word: str) -> int | None:
    found = re.fullmatch(r"(\d{1,12})([km]?)b?", word.lower())
    return int(found[1]) * _SIZES[found[2]] if found else None


def _larger(word: str, _: float) -> Test:
    size = _bytes(word)
    return (lambda _: False) if size is None else (lambda mail: mail.size >= size)


def _smaller(word: str, _: float) -> Test:
    size = _bytes(word)
    return (lambda _: False) if size is None else (lambda mail: mail.size < size)


def _message_id(word: str, _: float) -> Test:
    return lambda mail: mail.message_id.strip("<>") == word.strip("<>")


_BARE: Final = frozenset(
    {"in", "is", "label", "has", "category", "after", "before", "newer", "older", "older_than", "newer_than", "size",
     "larger", "smaller", "rfc822msgid"}
)  # fmt: skip
_OPERATORS: Final[dict[str, Callable[[str, float], Test]]] = {
    "from": _in_field("sender"),
    "to": _in_field("to", "cc", "bcc"),
    "cc": _in_field("cc"),
    "bcc": _in_field("bcc"),
    "subject": _in_field("subject"),
    "list": _in_field("list_id"),
    "deliveredto": _in_field("to", "cc", "bcc"),
    "has": _has,
    "is": _state,
    "in": _place,
    "label": _label,
    "category": _category,
    "filename": _filename,
    "after": _since,
    "newer": _since,
    "before": _until,
    "older": _until,
    "older_than": _older,
    "newer_than": _newer,
    "size": _larger,
    "larger": _larger,
    "smaller": _smaller,
    "rfc822msgid": _message_id,
}
