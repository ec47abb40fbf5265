"""What a session is called when its person has not said."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.conversations.rules import TITLE_MADE_MAX, title_from

ANY_TEXT = st.text(max_size=300)
WORDS = st.lists(st.text(alphabet=st.characters(categories=["Ll", "Lu", "Lo"]), min_size=1, max_size=12), min_size=1)


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("Hi, can you please tell me about whales?", "Tell me about whales?"),
        ("hello", "Hello"),
        ("Please.", "Please"),
        ("ok ok", "Ok"),
        ("I need to book a flight to Paris", "Book a flight to Paris"),
        ("Hello there! Um, I’d like to know the time.", "Know the time"),
        ("What does please mean?", "What does please mean?"),
        ("  many \t\n spaces   here ", "Many spaces here"),
        ("hola, ¿puedes ayudarme?", "Ayudarme?"),
        ("Bonjour, peux-tu lire mes courriels ?", "Lire mes courriels ?"),
        ("überraschungen planen", "Überraschungen planen"),
        ("¿qué hora es?", "¿Qué hora es?"),
        ("помоги мне с письмом", "Помоги мне с письмом"),
        ("鲸鱼吃什么？", "鲸鱼吃什么？"),
        ("3 ideas for dinner", "3 ideas for dinner"),
    ],
)
def test_a_title_says_what_was_wanted(said: str, title: str) -> None:
    assert title_from(said) == title


@pytest.mark.parametrize("said", ["Hi-fi systems compared", "Okayama in spring", "Pleased to meet you", "Hidden caves"])
def test_a_word_that_only_begins_like_a_greeting_stays(said: str) -> None:
    assert title_from(said) == said


@pytest.mark.parametrize("said", ["", "   ", "...", "?!", "\x00\x01", "\u2028", "👋"])
def test_nothing_said_makes_no_title(said: str) -> None:
    assert title_from(said) is None


def test_a_long_title_is_cut_at_the_end_of_a_word() -> None:
    title = title_from("Book a flight to Paris tomorrow because my sister is getting married there")
    assert title == "Book a flight to Paris tomorrow because my sister is…"


def test_a_title_of_exactly_the_longest_length_is_kept_whole() -> None:
    said = "A" + "b" * (TITLE_MADE_MAX - 1)
    assert title_from(said) == said
    assert title_from(said + "b") == said[:-1] + "…"


def test_marks_are_not_torn_from_their_letters() -> None:
    title = title_from("e\u0301" * 80)
    assert title is not None
    assert unicodedata.normalize("NFC", title) == "É" + "é" * 28 + "…"


def test_joined_emoji_are_not_torn_apart() -> None:
    family = "👩\u200d👩\u200d👧"
    title = title_from("x" * 56 + family * 3)
    assert title == "X" + "x" * 55 + "…"


def test_endless_greetings_are_read_in_no_time() -> None:
    title = title_from("hi " * 200_000 + "whales")
    assert title is not None
    assert len(title) <= TITLE_MADE_MAX


@given(ANY_TEXT)
@example("please " + "x" * 200)
@example("ß" * 70)
def test_every_title_is_one_short_line_that_says_something(said: str) -> None:
    title = title_from(said)
    if title is None:
        return
    assert 1 <= len(title) <= TITLE_MADE_MAX
    assert title == title.strip()
    assert "  " not in title
    assert not any(unicodedata.category(char) in {"Cc", "Zl", "Zp", "Cs"} for char in title)
    assert any(char.isalnum() for char in title)


@given(ANY_TEXT)
def test_text_with_letters_always_makes_a_title(said: str) -> None:
    if any(char.isalpha() for char in said):
        assert title_from(said) is not None


@given(WORDS)
def test_a_cut_title_ends_where_a_word_of_the_text_ends(words: list[str]) -> None:
    title = title_from("Subject: " + " ".join(words))
    assert title is not None
    if title.endswith("…"):
        kept = title.removesuffix("…").split(" ")
        assert kept == ["Subject:", *words][: len(kept)] or kept == ["Subject"]


@given(ANY_TEXT)
def test_the_same_words_make_the_same_title_however_they_are_spaced(said: str) -> None:
    assert title_from(said) == title_from("  " + "\n ".join(said.split()) + " ")
