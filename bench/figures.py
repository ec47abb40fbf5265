"""Figures as the benchmarks print them: spreads, and whether what the product has to hold is held."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def median(values: Sequence[float]) -> float:
    return quantile(values, 0.5)


@dataclass(frozen=True)
class Verdict:
    """A figure that the product has to hold, and what was measured."""

    scenario: str
    name: str
    value: float
    limit: float
    at_most: bool
    unit: str

    @property
    def held(self) -> bool:
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def line(self) -> str:
        sign = "≤" if self.at_most else "≥"
        said = f"{self.value:.3f}" if 0 < abs(self.value) < 10 else f"{self.value:.1f}"
        return (
            f"{'held  ' if self.held else 'MISSED'}  {self.name}: {said}{self.unit} ({sign} {self.limit:g}{self.unit})"
        )


@dataclass
class Report:
    """What one scenario says, printed as it is said, and kept."""

    scenario: str
    verdicts: list[Verdict] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def say(self, line: str = "") -> None:
        print(f"  {line}".rstrip(), flush=True)

    def spread(self, name: str, values: Sequence[float], unit: str = "ms") -> None:
        """Print and keep how a figure is spread."""
        if not values:
            self.say(f"{name}: nothing was measured")
            return
        marks = {"min": 0.0, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
        found = {mark: quantile(values, share) for mark, share in marks.items()}
        said = "  ".join(f"{mark} {value:.1f}" for mark, value in found.items())
        self.say(f"{name:<44} {said} {unit}  (n={len(values)})")
        self.figures[name] = {"n": len(values), "unit": unit} | {key: round(value, 3) for key, value in found.items()}

    def figure(self, name: str, value: float, unit: str = "") -> None:
        """Print and keep one figure."""
        self.say(f"{name:<44} {value:.1f}{' ' if unit else ''}{unit}")
        self.figures[name] = {"value": round(value, 3), "unit": unit}

    def hold(self, name: str, value: float, limit: float, *, at_most: bool = True, unit: str = "") -> None:
        """Measure a figure against what the product has to hold."""
        verdict = Verdict(self.scenario, name, value, limit, at_most, unit)
        self.verdicts.append(verdict)
        self.say(verdict.line())
