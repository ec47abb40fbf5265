"""Long recordings are cut where nobody speaks; where nobody pauses, both sides of a cut hold what lies around it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.jobs.media_models import Cut, Window
from shared.jobs.segment_rules import LONGEST_MS, WINDOW_MS, Cutter

LONGEST = LONGEST_MS // WINDOW_MS
SPEECH, SILENCE = Window(0.9, 0.01), Window(0.02, 1e-8)


def cut(windows: Iterable[Window]) -> list[Cut]:
    cutter, cuts = Cutter(), []
    for number, window in enumerate(windows):
        needed = cutter.needed_from
        made = cutter.feed(window)
        assert all(needed <= each.start < each.stop <= number + 1 for each in made)
        cuts += made
    needed = cutter.needed_from
    last = cutter.finish()
    assert all(needed <= each.start for each in last)
    return cuts + last


def seconds(count: float) -> int:
    return round(count * 1000 / WINDOW_MS)


def spoken(*lengths: float) -> list[Window]:
    """Speech and silence in turn, in seconds; speech first."""
    return [
        window for number, each in enumerate(lengths) for window in [SILENCE if number % 2 else SPEECH] * seconds(each)
    ]


def test_silence_makes_no_segment() -> None:
    cutter = Cutter()
    assert not any(cutter.feed(SILENCE) for _ in range(seconds(4 * 3600)))
    assert cutter.finish() == []
    assert cutter.spoken_windows == 0


def test_a_click_makes_no_segment() -> None:
    assert cut([*[SILENCE] * 50, SPEECH, *[SILENCE] * 300]) == []


def test_a_short_recording_is_one_segment_with_a_margin_around_the_words() -> None:
    (only,) = cut([*[SILENCE] * seconds(10), *spoken(3, 20)])
    margin = seconds(0.32)
    assert only == Cut(seconds(10) - margin, seconds(10) + seconds(3) + margin)


def test_words_at_both_ends_of_a_recording_are_whole() -> None:
    assert cut(spoken(3)) == [Cut(0, seconds(3))]


def test_a_long_silence_is_left_out() -> None:
    first, second = cut(spoken(5, 60, 5))
    assert second.start - first.stop > seconds(58)


def test_the_longest_silence_in_reach_is_where_a_full_segment_ends() -> None:
    first, second = cut(spoken(30, 0.6, 5, 1.5, 5, 0.6, 30))
    begin = len(spoken(30, 0.6, 5))
    assert first.stop == second.start == begin + seconds(1.5) // 2
    assert first.shared_after == second.shared_before == 0


def test_an_early_silence_is_better_than_a_divided_word() -> None:
    first, second = cut(spoken(6, 0.8, 50))
    assert first.stop == second.start == seconds(6) + seconds(0.8) // 2


def test_a_silence_that_is_as_loud_as_speech_is_not_trusted() -> None:
    """A detector can miss words that noise covers."""
    missed = [Window(0.1, 0.01)] * seconds(1)
    quiet = [Window(0.9, 0.001)] * seconds(8)
    first, second = cut([*spoken(35), *missed, *spoken(10), *quiet, *spoken(30)])
    assert first.shared_after == second.shared_before > 0


def test_four_minutes_without_a_pause_are_cut_at_quiet_places_that_both_sides_hold() -> None:
    loud, soft = Window(0.9, 0.02), Window(0.9, 0.001)
    windows = [soft if number % 300 in range(10) else loud for number in range(seconds(240))]
    cuts = cut(windows)
    assert len(cuts) >= 5
    for before, after in pairwise(cuts):
        shared = before.stop - after.start
        assert shared == before.shared_after == after.shared_before == seconds(3.072)
        assert (after.start + shared // 2) % 300 in range(10)


# Whether somebody speaks, for how many windows, with which power.
Runs = list[tuple[bool, int, float]]
runs_of_speech = st.lists(st.tuples(st.booleans(), st.integers(1, 900), st.floats(1e-9, 0.1)), min_size=1, max_size=40)


def expanded(runs: Runs) -> list[Window]:
    return [Window(0.9 if speaks else 0.05, power) for speaks, length, power in runs for _ in range(length)]


@given(runs_of_speech)
def test_no_speech_is_lost_and_no_segment_is_too_long(runs: Runs) -> None:
    windows = expanded(runs)
    cuts = cut(windows)
    held = [False] * len(windows)
    for each in cuts:
        assert 0 < each.stop - each.start <= LONGEST
        held[each.start : each.stop] = [True] * (each.stop - each.start)
    # One window of speech alone may be a click.
    sure = [
        window.speech > 0.5
        and any(windows[at].speech > 0.5 for at in (number - 1, number + 1) if 0 <= at < len(windows))
        for number, window in enumerate(windows)
    ]
    assert not [number for number, speaks in enumerate(sure) if speaks and not held[number]]


@given(runs_of_speech)
def test_segments_follow_each_other_and_share_only_what_they_say(runs: Runs) -> None:
    windows = expanded(runs)
    cuts = cut(windows)
    assert cuts == cut(windows)
    for before, after in pairwise(cuts):
        assert before.start < after.start
        shared = max(before.stop - after.start, 0)
        assert after.shared_before == shared
        # What would have shared more was dropped, because nothing is said in it that is not said here.
        assert not shared or before.shared_after == shared


@given(runs_of_speech)
def test_a_cut_without_an_overlap_is_never_in_speech(runs: Runs) -> None:
    windows = expanded(runs)
    cuts = cut(windows)
    for before, after in pairwise(cuts):
        if not before.shared_after:
            around = windows[before.stop - 1 : before.stop + 1] + windows[after.start - 1 : after.start + 1]
            assert all(window.speech < 0.5 for window in around)
