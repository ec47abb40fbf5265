"""Pure decisions of the operations room: health, and what things cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final

from shared.operations.models import PartStatus, UsageItem, UsageLine

_ORDER: Final[tuple[PartStatus, ...]] = ("ok", "degraded", "unavailable")

# Micro-dollars for one unit, list prices on the date below, before free tiers and volume discounts:
# Speech-to-Text v2, Chirp 3, 0.016 USD a minute (https://cloud.google.com/speech-to-text/pricing);
# Text-to-Speech, Chirp 3 HD, 30 USD a million characters (https://cloud.google.com/text-to-speech/pricing).
# Tokens are priced by the model, which the runtime names in the provider field; a model not listed costs "unknown".
PRICES_AS_OF: Final = date(2026, 11, 22)
_PRICE_MICROS: Final[dict[tuple[str, str], float]] = {
    ("google-speech/chirp_3", "seconds"): 16_000 / 60,
    ("google-texttospeech/chirp3-hd", "characters"): 30.0,
}


def cost_micros(provider: str, unit: str, quantity: int) -> int | None:
    """The cost in micro-dollars, rounded to whole ones; None where the price is not known."""
    price = _PRICE_MICROS.get((provider, unit))
    return None if price is None else round(price * quantity)


def total_cost_micros(items: Iterable[UsageItem]) -> int | None:
    """The sum of the known costs; None when none is known, so that unknown never reads as free."""
    known = [item.cost_micros for item in items if item.cost_micros is not None]
    return sum(known) if known else None


def cost_of(lines: Sequence[UsageLine]) -> tuple[int | None, int]:
    """The known cost of lines of the ledger in micro-dollars, and how many events it leaves out.

    Nothing used costs 0; None means that something was used and none of it has a known price.
    """
    known = [line.cost_micros for line in lines if line.cost_micros is not None]
    unpriced = sum(line.unpriced_events for line in lines)
    return (sum(known) if known or not lines else None), unpriced


def worst(statuses: Iterable[PartStatus]) -> PartStatus:
    return max(statuses, key=_ORDER.index, default="ok")
