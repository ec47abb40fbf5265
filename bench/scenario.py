"""What every scenario is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.figures import Report
from bench.town import Town


@dataclass(frozen=True)
class Setting:
    """`quick`: fewer repetitions, the same figures. `voices`: further folders of human recordings."""

    town: Town
    report: Report
    quick: bool
    voices: tuple[Path, ...] = ()

    def count(self, whole: int, quick: int) -> int:
        return quick if self.quick else whole
