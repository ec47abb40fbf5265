"""A sentence is given out as early as possible, and never cut where it goes on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.voice.sentences import SentenceCutter


def cut(text: str, size: int = 1) -> list[str]:
    cutter = SentenceCutter()
    found = [sentence for i in range(0, len(text), size) for sentence in cutter.feed(text[i : i + size])]
    rest = cutter.rest()
    return found + ([rest] if rest else [])


def test_a_sentence_is_given_out_at_its_full_stop_without_waiting_for_the_next_token() -> None:
    cutter = SentenceCutter()
    assert cutter.feed("It is raining in Porto") == []
    assert cutter.feed(".") == ["It is raining in Porto."]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It costs 3.50 dollars. Fine.", ["It costs 3.50 dollars.", "Fine."]),
        ("Dr. Smith called. He is late.", ["Dr. Smith called.", "He is late."]),
        ("Meet J. R. Tolkien today! Yes?", ["Meet J. R. Tolkien today!", "Yes?"]),
        ("The answer is 42. Anything else?", ["The answer is 42.", "Anything else?"]),
        ("Use e.g. a pen, i.e. ink. Done.", ["Use e.g. a pen, i.e. ink.", "Done."]),
        ("今日は晴れです。明日は雨です。", ["今日は晴れです。", "明日は雨です。"]),
        ("Das kostet ca. 5 Euro. Gut.", ["Das kostet ca. 5 Euro.", "Gut."]),
        ("First line\nSecond line", ["First line", "Second line"]),
        ("See you at 5 p.m. Bring a coat.", ["See you at 5 p.m. Bring a coat."]),
        ("Visit www.example.com today. Bye.", ["Visit www.example.com today.", "Bye."]),
        ("🙂 . ! ", []),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_sentences_are_cut_where_they_end(text: str, sentences: list[str], size: int) -> None:
    assert cut(text, size) == sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ('She said "Stop!" Then she left.', ['She said "Stop!"', "Then she left."]),
        ("Wait... what? Really?!", ["Wait...", "what?", "Really?!"]),
    ],
)
def test_several_marks_that_come_together_stay_together(text: str, sentences: list[str]) -> None:
    assert cut(text, 1000) == sentences


def test_a_sentence_without_end_is_cut_at_a_comma_rather_than_kept_waiting() -> None:
    sentences = cut("and then we went on, " * 60)
    assert len(sentences) > 2
    assert all(len(sentence) <= 400 for sentence in sentences)
    assert all(sentence.endswith(",") for sentence in sentences)


def test_one_endless_word_is_cut_too() -> None:
    assert "".join(cut("x" * 1500, 7)) == "x" * 1500


@given(st.text(alphabet=st.sampled_from("abC .!?,\n15。é"), max_size=600), st.integers(1, 40))
def test_nothing_speakable_is_lost_doubled_or_reordered(text: str, size: int) -> None:
    letters = [character for character in text if character.isalnum()]
    assert [character for sentence in cut(text, size) for character in sentence if character.isalnum()] == letters


@given(st.text(max_size=300))
def test_every_sentence_stands_verbatim_in_the_text(text: str) -> None:
    cursor = 0
    for sentence in cut(text, 5):
        found = text.find(sentence, cursor)
        assert found >= cursor
        cursor = found + len(sentence)
