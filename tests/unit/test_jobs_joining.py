"""Spoken parts become one file without clicks, in which each chapter lies where its mark says."""

from __future__ import annotations

import io
from typing import Any, get_args

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.jobs.joining import SpokenFormat, joined
from shared.jobs.joining_rules import FADE_SAMPLES, SAMPLE_RATE_HERTZ, SpokenPart, chapters_document, planned

FORMATS: tuple[SpokenFormat, ...] = get_args(SpokenFormat)
PARTS = [SpokenPart(72_000, "Eins: Ärger & <Mut>"), SpokenPart(48_000), SpokenPart(96_000, "Two")]


def sound(samples: int, level: int = 12_000) -> bytes:
    """A constant: what clicks most at its edges, and cannot be mistaken for silence."""
    return np.full(samples, level, "<i2").tobytes()


def tone(samples: int) -> bytes:
    return (np.sin(np.arange(samples) / SAMPLE_RATE_HERTZ * 2 * np.pi * 330 + 1) * 12_000).astype("<i2").tobytes()


def opened(data: bytes) -> tuple[npt.NDArray[np.float64], Any]:
    """Samples between -1 and 1 at 24 kHz, and the file's chapters."""
    with av.open(io.BytesIO(data), "r") as file:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HERTZ)
        frames = [part for frame in [*file.decode(audio=0), None] for part in resampler.resample(frame)]
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.float64), file.chapters()


@pytest.mark.parametrize("audio_format", FORMATS)
def test_the_file_is_as_long_as_planned_and_its_parts_lie_where_they_should(audio_format: SpokenFormat) -> None:
    data = b"".join(joined(PARTS, [[tone(part.samples)] for part in PARTS], audio_format))
    samples, chapters = opened(data)
    plan = planned(PARTS)
    assert len(samples) / SAMPLE_RATE_HERTZ == pytest.approx(plan.duration_ms / 1000, abs=0.08)
    marks = [(each["metadata"]["title"], each["start"]) for each in chapters]
    assert marks == ([] if audio_format == "wav" else [("Eins: Ärger & <Mut>", 0), ("Two", 6_150)])
    loud = np.abs(samples) > 0.1
    pause = SAMPLE_RATE_HERTZ * 6_150 // 1000
    assert not loud[pause - 20_000 : pause - 2_000].any()
    assert loud[pause + 2_000 : pause + 4_000].any()


def test_a_wave_file_holds_the_samples_themselves_softened_at_the_edges_only() -> None:
    data = b"".join(joined([SpokenPart(1_000), SpokenPart(1_000)], [[sound(1_000)], [sound(1_000)]], "wav"))
    samples = np.frombuffer(data[44:], "<i2").astype(int)
    first, pause, second = samples[:1_000], samples[1_000:-1_000], samples[-1_000:]
    assert len(pause) == SAMPLE_RATE_HERTZ // 4
    assert not pause.any()
    for part in (first, second):
        assert (part[FADE_SAMPLES:-FADE_SAMPLES] == 12_000).all()
        assert part[0] == part[-1] == 0
    assert np.abs(np.diff(samples)).max() <= 12_000 / FADE_SAMPLES + 1


def test_chapters_have_a_document_for_files_that_cannot_hold_them() -> None:
    assert chapters_document(planned(PARTS).chapters) == {
        "version": "1.2.0",
        "chapters": [
            {"startTime": 0.0, "endTime": 6.15, "title": "Eins: Ärger & <Mut>"},
            {"startTime": 6.15, "endTime": 10.15, "title": "Two"},
        ],
    }


@pytest.mark.parametrize("samples", [71_999, 72_001, 0])
def test_a_part_that_is_not_as_long_as_announced_is_noticed(samples: int) -> None:
    sounds = [[sound(samples)], [sound(48_000)], [sound(96_000)]]
    with pytest.raises(ValueError, match="part 0"):
        list(joined(PARTS, sounds, "wav"))


@pytest.mark.parametrize("audio_format", FORMATS)
def test_a_file_comes_in_pieces_while_its_parts_are_read(audio_format: SpokenFormat) -> None:
    taken: list[int] = []

    def sounds() -> Any:
        for number in range(20):
            taken.append(number)
            yield [tone(48_000)]

    pieces = joined([SpokenPart(48_000)] * 20, sounds(), audio_format)
    assert sum(len(next(pieces)) for _ in range(4)) > 0
    assert len(taken) < 12
    assert b"".join(pieces)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 700), min_size=1, max_size=6), st.integers(1, 333))
def test_however_the_bytes_come_the_file_is_the_same(lengths: list[int], size: int) -> None:
    parts = [SpokenPart(samples) for samples in lengths]
    whole = [tone(samples) for samples in lengths]
    pieces = [[data[start : start + size] for start in range(0, len(data), size)] for data in whole]
    assert b"".join(joined(parts, pieces, "wav")) == b"".join(joined(parts, [[data] for data in whole], "wav"))
