"""Long recordings cut into segments: memory and processor time of four minutes and four hours, and where cuts fall."""

from __future__ import annotations

import asyncio
import io
import json
import resource
import sys

import numpy as np

from bench.scenario import Setting
from shared.jobs.media_models import Segment
from shared.jobs.segmentation import Segmentation
from tests.support.long_audio import RATE, GrowingWav, Joined, as_wav, joined_voices

SHORT_MINUTES, LONG_MINUTES, QUICK_MINUTES = 4, 240, 30
GROWTH_MIB = 32
# (noise level, full scale 1; silences between the clips, in seconds)
CASES = ((0.0, (0.3, 1.6)), (0.003, (0.3, 1.6)), (0.01, (0.3, 1.6)), (0.003, (0.0, 0.0)))


async def run(setting: Setting) -> None:
    """Each length in a process of its own, so that its memory is its own."""
    report = setting.report
    setting.town.stop()
    longest = QUICK_MINUTES if setting.quick else LONG_MINUTES
    found = {minutes: await _measured(minutes) for minutes in (SHORT_MINUTES, longest)}
    for minutes, figures in found.items():
        for name, unit in (("processor", "s"), ("segments", ""), ("memory", "MiB")):
            report.figure(f"{minutes} minutes: {name}", figures[name], unit)
    growth = found[longest]["memory"] - found[SHORT_MINUTES]["memory"]
    report.hold(f"memory of {longest} minutes above that of {SHORT_MINUTES}", growth, GROWTH_MIB, unit=" MiB")
    for noise, gaps in CASES:
        cut, ends = await asyncio.to_thread(_cut_words, noise, gaps)
        report.hold(f"noise {noise}, gaps {gaps}: of {ends} ends, within words", cut, 0)


async def _measured(minutes: int) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.recordings", str(minutes), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    figures: dict[str, float] = json.loads(printed)
    return figures


def _cut_words(noise: float, gaps: tuple[float, float]) -> tuple[int, int]:
    """How many ends of segments, where nothing is shared, fall where somebody is heard; and how many ends there are."""
    clean, noisy = joined_voices(600, gaps), joined_voices(600, gaps, noise)
    segments = list(Segmentation(io.BytesIO(as_wav(noisy.samples))).segments())
    places = [segment.start_ms for segment in segments[1:] if not segment.overlap_before_ms]
    places += [segment.end_ms for segment in segments[:-1] if not segment.overlap_after_ms]
    return sum(_is_loud(clean, place) for place in places), _ends(segments)


def _ends(segments: list[Segment]) -> int:
    return 2 * max(len(segments) - 1, 0)


def _is_loud(joined: Joined, place_ms: int) -> bool:
    around = joined.samples[max(place_ms * 16 - 320, 0) : place_ms * 16 + 320].astype(np.float64)
    return bool(np.sqrt((around**2).mean()) > 0.02 * np.abs(joined.samples.astype(np.int32)).max())


def _segment(minutes: int) -> dict[str, float]:
    samples = joined_voices(240, (0.3, 1.6), 0.003).samples
    blocks = [samples[at : at + RATE].tobytes() for at in range(0, len(samples) - RATE, RATE)]
    segmentation = Segmentation(GrowingWav(minutes * 60, lambda second: blocks[second % len(blocks)]))
    count = sum(1 for _ in segmentation.segments())
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"segments": count, "processor": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss / 1024}


if __name__ == "__main__":
    print(json.dumps(_segment(int(sys.argv[1]))))
