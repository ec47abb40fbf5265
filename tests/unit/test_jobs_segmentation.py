"""A recording of human voices is cut between their words, in noise too, and always at the same places."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from shared.jobs.media_models import Segment
from shared.jobs.segment_rules import LONGEST_MS
from shared.jobs.segmentation import Segmentation
from tests.support.long_audio import RATE, GrowingWav, Joined, Samples, as_wav, joined_voices, voice


def segmented(samples: Samples) -> list[Segment]:
    return list(Segmentation(io.BytesIO(as_wav(samples))).segments())


def samples_of(segment: Segment) -> Samples:
    with av.open(io.BytesIO(segment.data), "r") as file:
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in file.decode(audio=0)]).astype(np.int16)


def words_cut(joined: Joined, segments: list[Segment]) -> list[int]:
    """Ends without an overlap that lie within the words of a clip, where it is loud, in milliseconds."""
    places = [segment.start_ms for segment in segments if not segment.overlap_before_ms]
    places += [segment.end_ms for segment in segments if not segment.overlap_after_ms]
    loud = 0.02 * np.abs(joined.samples.astype(np.int32)).max()
    return [
        place
        for place in places
        if any(start + 0.05 < place / 1000 < end - 0.05 for start, end in joined.spans)
        and np.sqrt((joined.samples[place * 16 - 320 : place * 16 + 320].astype(np.float64) ** 2).mean()) > loud
    ]


@pytest.mark.parametrize("noise", [0.0, 0.003, 0.01])
def test_cuts_fall_between_the_words(noise: float) -> None:
    clean = joined_voices(150, (0.3, 1.6))
    joined = joined_voices(150, (0.3, 1.6), noise)
    segments = segmented(joined.samples)
    assert len(segments) >= 3
    assert words_cut(clean, segments) == []
    held = np.zeros(len(clean.samples), bool)
    for segment in segments:
        assert segment.end_ms - segment.start_ms <= LONGEST_MS
        held[segment.start_ms * 16 : segment.end_ms * 16] = True
    power = clean.samples.astype(np.float64) ** 2
    assert power[~held].sum() < 1e-3 * power.sum()


def test_a_segment_holds_the_samples_of_its_span_unchanged() -> None:
    joined = joined_voices(70, (0.3, 1.6))
    for segment in segmented(joined.samples):
        expected = joined.samples[segment.start_ms * 16 : segment.end_ms * 16]
        assert np.array_equal(samples_of(segment)[: len(expected)], expected)


def test_the_same_bytes_give_the_same_segments() -> None:
    joined = joined_voices(70, (0.3, 1.6), 0.003)
    assert segmented(joined.samples) == segmented(joined.samples)


def test_a_voice_without_a_pause_is_cut_with_an_overlap_that_both_sides_hold() -> None:
    clip = voice("go-forward.wav")[6_000:24_000]
    segments = segmented(np.tile(clip, 70 * RATE // len(clip)))
    first, second = segments[0], segments[1]
    assert first.overlap_after_ms == second.overlap_before_ms == first.end_ms - second.start_ms > 2_000
    shared = samples_of(second)[: second.overlap_before_ms * 16]
    assert np.array_equal(samples_of(first)[-len(shared) :], shared)


@pytest.mark.parametrize("level", [0, 300])
def test_ten_minutes_of_silence_or_noise_makes_no_segment(level: int) -> None:
    random = np.random.default_rng(1)
    block = (random.normal(0, 1, RATE) * level).astype("<i2").tobytes()
    segmentation = Segmentation(GrowingWav(600, lambda _: block))
    assert list(segmentation.segments()) == []
    report = segmentation.report()
    assert (report.segments, report.speech_ms, report.duration_ms) == (0, 0, 600_000)
