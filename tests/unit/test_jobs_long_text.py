"""A long text is cut where its sentences end, into what one synthesis takes, and nothing of it is left unsaid."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jobs.long_text import MAX_CHARACTERS, split
from shared.runtime.errors import TooLarge, Unprocessable

SENTENCE = "Call me Ishmael, said the sailor to Dr. Brown at 3.30 in the morning. "


def letters(text: str) -> str:
    return "".join(letter for letter in text if letter.isalnum())


def test_parts_end_with_sentences_and_are_filled() -> None:
    parts = split(SENTENCE * 500)
    assert all(len(part.text.encode()) <= 5_000 for part in parts)
    assert all(len(part.text.encode()) > 4_500 for part in parts[:-1])
    assert all(part.text.endswith("morning.") for part in parts)
    assert [part.index for part in parts] == list(range(len(parts)))


def test_headings_mark_chapters_and_are_spoken() -> None:
    text = "Before it begins.\n\n# The *first* chapter\n\n" + SENTENCE * 10 + "\n\nChapter Two\n\n" + SENTENCE * 10
    parts = split(text)
    assert [(part.chapter, part.text.split(".")[0][:20]) for part in parts] == [
        (None, "Before it begins"),
        ("The first chapter", "The first chapter\nCa"),
        ("Chapter Two", "Chapter Two\nCall me "),
    ]


def test_a_sentence_that_speaks_of_a_chapter_is_no_heading() -> None:
    assert [part.chapter for part in split("Part of it was true.\n\nChapter and verse, he said:\n\nIt was late.")] == [
        None
    ]


def test_headings_that_follow_each_other_closely_cost_no_synthesis_each() -> None:
    assert len(split("# a\n\n" * 1_000)) <= 10


def test_paragraphs_mark_chapters_where_there_are_no_headings() -> None:
    paragraphs = [f"Paragraph {number} begins here. " + SENTENCE * 30 for number in range(4)]
    found = [part.chapter for part in split("\n\n".join(paragraphs)) if part.chapter]
    assert [chapter.split(" begins")[0] for chapter in found] == [f"Paragraph {number}" for number in range(4)]
    assert all(len(chapter) <= 61 for chapter in found)


def test_a_short_text_has_no_chapters() -> None:
    assert [(part.text, part.chapter) for part in split("Hello there.\n\nHow are you?")] == [
        ("Hello there.\nHow are you?", None)
    ]


@pytest.mark.parametrize("text", ["", " \n\n ", "***\n\n---", "…"])
def test_nothing_to_say_is_refused(text: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        split(text)
    assert refused.value.code == "text_empty"


def test_a_text_beyond_the_limit_is_refused() -> None:
    assert split("a" * MAX_CHARACTERS)
    with pytest.raises(TooLarge) as refused:
        split("a" * (MAX_CHARACTERS + 1))
    assert refused.value.code == "text_too_long"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["[", "[x](", "a.", "Mr. ", "\n#", "(", "*a", "a\n", "\u3002\u597d", "  "], ids=repr)
def test_no_text_of_the_longest_kind_takes_long(piece: str) -> None:
    text = (piece * MAX_CHARACTERS)[:MAX_CHARACTERS]
    try:
        assert all(0 < len(part.text.encode()) <= 5_000 for part in split(text))
    except Unprocessable:
        assert not letters(text)


texts = st.lists(
    st.one_of(
        st.text(st.characters(codec="utf-8", exclude_characters="*_`#~|<>[]()"), max_size=60),
        st.sampled_from(["Dr. ", "3.14 ", "\n\n", "你好。", "Ja! ", "word " * 40, "x" * 90, "Chapter 1\n\n"]),
    ),
    max_size=30,
).map("".join)


@given(texts, st.integers(50, 400))
def test_every_word_is_said_once_and_in_order(text: str, limit: int) -> None:
    try:
        parts = split(text, limit)
    except Unprocessable:
        assert not letters(text)
        return
    assert all(0 < len(part.text.encode()) <= limit for part in parts)
    assert letters("".join(part.text for part in parts)) == letters(text)
    assert not any(re.search(r"\s{2,}", part.text) for part in parts)
