"""Where in the reply each piece of audio stands."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.conversations.turn_rules import SpokenPiece, rounded, speech_timeline


def test_each_sentence_has_its_place_in_time_and_text() -> None:
    reply = "It rains.  Take a coat."
    timeline = speech_timeline(reply, [SpokenPiece(0, "It rains.", 0.0, 1.0), SpokenPiece(1, "Take a coat.", 1.0, 2.0)])
    assert timeline == [
        {"seq": 0, "start_ms": 0, "end_ms": 1000, "chars_start": 0, "chars_end": 9},
        {"seq": 1, "start_ms": 1000, "end_ms": 3000, "chars_start": 11, "chars_end": 23},
    ]


def test_pieces_of_one_sentence_share_its_characters_by_their_length() -> None:
    timeline = speech_timeline("abcdefghij", [SpokenPiece(0, "abcdefghij", 0.0, 1.5), SpokenPiece(1, "", 1.5, 0.5)])
    assert [(entry["chars_start"], entry["chars_end"]) for entry in timeline] == [(0, 8), (8, 10)]


def test_several_sentences_in_one_piece_are_found_though_the_reply_spaces_them_differently() -> None:
    reply = "One fine morning it rained.\n\nTwo."
    piece = SpokenPiece(0, "One fine morning it rained. Two.", 0.0, 2.0)
    assert speech_timeline(reply, [piece])[0]["chars_start"] == 0


@given(st.lists(st.tuples(st.sampled_from(["One.", "Two words.", ""]), st.floats(0.01, 5)), max_size=12))
def test_times_and_characters_never_go_back(parts: list[tuple[str, float]]) -> None:
    reply = " ".join(text for text, _ in parts if text)
    at, pieces = 0.0, []
    for seq, (text, seconds) in enumerate(parts):
        pieces.append(SpokenPiece(seq, text, at, seconds))
        at += seconds
    timeline = speech_timeline(reply, pieces)
    for entry, after in pairwise(timeline):
        assert entry["chars_start"] <= entry["chars_end"] <= after["chars_start"] + 1
        assert entry["end_ms"] <= after["start_ms"] + 1
    assert all(0 <= entry["chars_end"] <= len(reply) for entry in timeline)


def test_timings_are_whole_and_never_negative() -> None:
    assert rounded({"hear": 12.6, "open": -0.2}) == {"hear": 13, "open": 0}
