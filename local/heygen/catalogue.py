"""The looks and voices that every account has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Look:
    """`engines` is what the provider lists as `supported_api_engines`; the default engine is often not among them."""

    id: str
    name: str
    colour: tuple[int, int, int]
    engines: frozenset[str]
    default_voice: str | None = None


VOICES: Final = ("en-us-anna", "en-us-marcus", "es-es-lucia")
LOOKS: Final = (
    Look("anna-studio", "Anna", (242, 201, 165), frozenset({"avatar_iii", "avatar_iv", "avatar_v"}), "en-us-anna"),
    Look("marcus-stock", "Marcus", (169, 113, 75), frozenset({"avatar_iii"}), "en-us-marcus"),
    Look("lucia-photo", "Lucia", (224, 172, 126), frozenset({"avatar_iv"})),
)


def look(avatar_id: str) -> Look | None:
    return next((known for known in LOOKS if known.id == avatar_id), None)
