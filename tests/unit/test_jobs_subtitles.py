"""Subtitles can be read: two lines, forty-two columns, seven seconds, in order, and none of the words missing."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.jobs.media_models import Cue, HeardSegment, Passage, Word
from shared.jobs.subtitle_rules import LINE_COLUMNS, LONGEST_MS, cues, srt, vtt
from shared.jobs.transcript_rules import assemble, columns


def passages(text: str, seconds: float) -> list[Passage]:
    end = round(seconds * 1000)
    return assemble([HeardSegment(start_ms=0, end_ms=end, text=text)], end).passages


def test_a_sentence_is_one_subtitle_of_two_even_lines() -> None:
    (cue,) = cues(passages("The quick brown fox jumps over the lazy dog near the river bank.", 5))
    assert cue.lines == ("The quick brown fox jumps over", "the lazy dog near the river bank.")


def test_a_sentence_ends_its_subtitle() -> None:
    found = cues(passages("This is the first sentence. And the second one follows it.", 5))
    assert [cue.lines for cue in found] == [("This is the first sentence.",), ("And the second one follows it.",)]


def test_a_pause_ends_a_subtitle() -> None:
    words = [Word(text="wait", start_ms=0, end_ms=400), Word(text="here", start_ms=1_500, end_ms=1_900)]
    said = [Passage(start_ms=0, end_ms=1_900, text="wait here", words=words, confidence=None, language=None)]
    assert [cue.lines for cue in cues(said)] == [("wait",), ("here",)]


def test_the_forms_are_those_that_players_read() -> None:
    found = [Cue(0, 1_500, ("Tom & Jerry",)), Cue(3_661_001, 3_662_000, ("a --> b", "<i>c</i>"))]
    assert srt(found) == (
        "1\n00:00:00,000 --> 00:00:01,500\nTom & Jerry\n\n2\n01:01:01,001 --> 01:01:02,000\na -> b\n<i>c</i>\n\n"
    )
    assert vtt(found) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nTom &amp; Jerry\n\n"
        "01:01:01.001 --> 01:01:02.000\na --&gt; b\n&lt;i&gt;c&lt;/i&gt;\n\n"
    )


def test_nothing_said_is_an_empty_file() -> None:
    assert srt(cues([])) == ""
    assert vtt(cues([])) == "WEBVTT\n\n"


said_words = st.lists(
    st.tuples(
        st.one_of(
            st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C")), min_size=1, max_size=12),
            st.sampled_from(["a" * 100, "你好" * 30, "end.", "안녕하세요"]),
        ),
        st.integers(0, 9_000),
        st.integers(0, 3_000),
    ),
    max_size=60,
)


@given(said_words)
def test_every_subtitle_fits_and_no_word_is_missing(said: list[tuple[str, int, int]]) -> None:
    words, at = [], 0
    for text, length, pause in said:
        words.append(Word(text=text, start_ms=at, end_ms=at + length))
        at += length + pause
    text = " ".join(word.text for word in words)
    transcript = assemble([HeardSegment(start_ms=0, end_ms=max(at, 1), text=text, words=tuple(words))], max(at, 1))
    found = cues(transcript.passages)
    for cue in found:
        assert 1 <= len(cue.lines) <= 2
        assert all(0 < columns(line) <= LINE_COLUMNS or not columns(line) for line in cue.lines)
        assert 0 < cue.end_ms - cue.start_ms <= LONGEST_MS
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(found))
    shown = "".join(line for cue in found for line in cue.lines)
    assert re.sub(r"\s", "", shown) == re.sub(r"\s", "", text)
