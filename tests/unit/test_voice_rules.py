"""Languages, voices, limits and the pace of speech."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.uploads import bare_media_type
from shared.voice.rules import MAX_SPEECH_BYTES, Pacing, match_language, plain, utf8_pieces

AVAILABLE = ["de-DE", "en-GB", "en-US", "cmn-Hans-CN", "pt-BR"]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (None, "en-US"),
        ("", "en-US"),
        ("en-gb", "en-GB"),
        ("en", "en-US"),
        ("en-ZA", "en-US"),
        ("de-AT", "de-DE"),
        ("zh-CN", "cmn-Hans-CN"),
        ("pt-PT", "pt-BR"),
        ("sw", None),
    ],
)
def test_a_language_is_served_by_its_own_tongue_or_refused(wanted: str | None, chosen: str | None) -> None:
    assert match_language(wanted, AVAILABLE) == chosen


def test_without_any_language_nothing_is_chosen() -> None:
    assert match_language("en", []) is None


def test_markup_is_not_read_out() -> None:
    assert plain("**Bold** and `code`, see [the site](https://x.test)") == "Bold and code, see the site"
    assert plain("5 > 3 # yes") == "5 3 yes"


def test_parameters_of_a_media_type_do_not_matter() -> None:
    assert bare_media_type("audio/WebM; codecs=opus") == "audio/webm"


@given(st.text(alphabet=st.sampled_from("aé漢 \n"), max_size=4000), st.integers(16, 200))
def test_long_texts_are_cut_at_spaces_without_losing_a_word(text: str, limit: int) -> None:
    words = [word for word in text.split() if len(word.encode()) <= limit]
    if len(words) < len(text.split()):
        return
    pieces = utf8_pieces(text, limit)
    assert " ".join(pieces).split() == text.split()
    for piece in pieces:
        assert len(piece.encode()) <= limit or len(piece.split()) == 1


def test_a_text_within_the_limit_is_one_piece() -> None:
    assert utf8_pieces("x" * MAX_SPEECH_BYTES) == ["x" * MAX_SPEECH_BYTES]


@given(st.lists(st.integers(1, 200), min_size=1, max_size=20), st.lists(st.floats(0, 60), min_size=2, max_size=20))
def test_sentences_begin_in_order_and_never_before_they_were_sent(lengths: list[int], moments: list[float]) -> None:
    begun = [Pacing().begun(lengths, moment) for moment in sorted(moments)]
    assert begun == sorted(begun)
    assert all(1 <= count <= len(lengths) for count in begun)


def test_the_first_audio_begins_the_first_sentence_alone() -> None:
    assert Pacing().begun([30, 30], 0.0) == 1
    assert Pacing().begun([30, 30], 2.5) == 2
