"""The words of a long recording's segments become one transcript, in the recording's time, each word once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.jobs.media_models import HeardSegment, Span, Word
from shared.jobs.transcript_rules import assemble, columns, spoken

HALF_MS = 1_536


def heard(start_ms: int, end_ms: int, text: str | None, **more: Any) -> HeardSegment:
    return HeardSegment(start_ms=start_ms, end_ms=end_ms, text=text, **more)


def words(*said: tuple[str, int, int]) -> tuple[Word, ...]:
    return tuple(Word(text=text, start_ms=start, end_ms=end) for text, start, end in said)


def test_times_are_those_of_the_recording() -> None:
    transcript = assemble(
        [
            heard(60_000, 63_000, "Good night.", words=words(("Good", 100, 300), ("night.", 350, 900))),
            heard(0, 3_000, "Good morning.", words=words(("Good", 200, 400), ("morning.", 450, 1_000))),
        ],
        90_000,
    )
    assert transcript.text == "Good morning.\n\nGood night."
    assert [word.start_ms for passage in transcript.passages for word in passage.words] == [200, 450, 60_100, 60_350]
    assert transcript.duration_ms == 90_000


def test_a_segment_that_was_not_recognized_is_told_and_the_others_stand() -> None:
    transcript = assemble(
        [heard(0, 2_000, "One."), heard(2_000, 4_000, None), heard(4_000, 6_000, "Three.")], 9_000, [Span(7_000, 8_000)]
    )
    assert transcript.text == "One.\n\nThree."
    assert [(each.start_ms, each.end_ms, each.reason) for each in transcript.missing] == [
        (2_000, 4_000, "not_recognized"),
        (7_000, 8_000, "damaged"),
    ]


def test_silence_is_an_empty_transcript() -> None:
    transcript = assemble([], 4 * 3600_000)
    assert (transcript.text, transcript.passages, transcript.language, transcript.confidence) == ("", [], None, None)


def test_confidence_and_language_weigh_by_words() -> None:
    transcript = assemble(
        [
            heard(0, 2_000, "one two three", confidence=0.9, language="en-US"),
            heard(2_000, 3_000, "eins", confidence=0.5, language="de-DE"),
        ],
        3_000,
    )
    assert transcript.language == "en-US"
    assert transcript.confidence == 0.8
    assert [passage.language for passage in transcript.passages] == ["en-US", "de-DE"]


def test_words_without_times_are_spread_over_their_segment() -> None:
    (passage,) = assemble([heard(10_000, 14_000, "a long sentence")], 20_000).passages
    assert passage.words[0].start_ms == 10_000
    assert passage.words[-1].end_ms == 14_000
    assert all(before.end_ms == after.start_ms for before, after in pairwise(passage.words))


def test_overlapping_texts_without_times_are_joined_by_their_words() -> None:
    transcript = assemble(
        [
            heard(0, 20_000, "and so we went down to the river with", overlap_after_ms=3_000),
            heard(17_000, 40_000, "to the river with our boats and nets", overlap_before_ms=3_000),
        ],
        40_000,
    )
    assert transcript.text == "and so we went down to the river with our boats and nets"


def test_words_of_scripts_without_spaces_stand_together_and_korean_does_not() -> None:
    assert spoken(["你", "好", "。"]) == "你好。"
    assert spoken(["안녕", "하세요"]) == "안녕 하세요"
    assert spoken(["I", "said", "你", "好"]) == "I said 你好"
    assert columns("你好") == 4
    assert columns("e\u0301") == 1


def test_times_that_make_no_sense_are_kept_inside_their_segment() -> None:
    (passage,) = assemble(
        [heard(1_000, 2_000, "a b c", words=words(("a", -50, 100), ("b", 5_000, 4_000), ("c", 200, 300)))], 5_000
    ).passages
    assert all(1_000 <= word.start_ms <= word.end_ms <= 2_000 for word in passage.words)
    assert [word.text for word in passage.words] == ["a", "b", "c"]


# What is said: words of few texts, so that they repeat, at least 160 ms apart.
sentences = st.lists(
    st.tuples(st.sampled_from(["no", "ten", "the", "of", "yes", "clubs"]), st.integers(120, 900), st.integers(40, 300)),
    min_size=3,
    max_size=60,
)
small = st.integers(-25, 25)


def truth_of(said: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    truth, at = [], 0
    for text, length, pause in said:
        truth.append((text, at, at + length))
        at += length + pause
    return truth


def side(truth: list[tuple[str, int, int]], span: Span, data: st.DataObject) -> HeardSegment:
    """What a recognizer hears in a stretch: whole words nearly on time, divided ones garbled, or not at all."""
    said = []
    for text, start, end in truth:
        shift = data.draw(small)
        if span.start_ms <= start and end <= span.end_ms:
            said.append((text, start + shift - span.start_ms, end + shift - span.start_ms))
        elif start < span.end_ms and end > span.start_ms:
            part = data.draw(st.sampled_from(["", "n", "clu", text]))
            bounds = max(start, span.start_ms) - span.start_ms, min(end, span.end_ms) - span.start_ms
            said += [(part, *bounds)] if part else []
    return heard(span.start_ms, span.end_ms, " ".join(each[0] for each in said), words=words(*said))


@given(sentences, st.floats(0, 1), st.data())
def test_no_word_is_lost_or_doubled_where_a_cut_was_made_in_speech(
    said: list[tuple[str, int, int]], place: float, data: st.DataObject
) -> None:
    truth = truth_of(said)
    end = truth[-1][2]
    middle = round(end * place)
    left = side(truth, Span(0, min(middle + HALF_MS, end)), data)
    right = side(truth, Span(max(middle - HALF_MS, 0), end), data)
    transcript = assemble([left, right], end)
    found = [word for passage in transcript.passages for word in passage.words]
    assert [word.text for word in found] == [text for text, _, _ in truth]
    assert all(abs(word.start_ms - start) <= 60 for word, (_, start, _) in zip(found, truth, strict=True))


@given(sentences, st.floats(0, 1), st.data())
def test_where_the_two_sides_heard_differently_each_word_is_there_once_all_the_same(
    said: list[tuple[str, int, int]], place: float, data: st.DataObject
) -> None:
    truth = truth_of([(f"{text}{number}", length, pause) for number, (text, length, pause) in enumerate(said)])
    end = truth[-1][2]
    middle = round(end * place)
    spans = Span(0, min(middle + HALF_MS, end)), Span(max(middle - HALF_MS, 0), end)
    sides = []
    for name, span in zip("lr", spans, strict=True):
        whole = [each for each in truth if span.start_ms <= each[1] and each[2] <= span.end_ms]
        strange = [
            (text if data.draw(st.booleans()) else f"{name}-{text}", start - span.start_ms, stop - span.start_ms)
            for text, start, stop in whole
        ]
        sides.append(heard(span.start_ms, span.end_ms, " ".join(each[0] for each in strange), words=words(*strange)))
    found = [word for passage in assemble(sides, end).passages for word in passage.words]
    assert [word.text.rpartition("-")[2] for word in found] == [text for text, _, _ in truth]
