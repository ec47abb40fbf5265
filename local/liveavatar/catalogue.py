"""The avatars and voices of the account: what LiveAvatar shows to everybody, and what is one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

SPACE_ID: Final = "7d1c8c7e-44f0-4a5e-9c55-0d6a53c1f001"
# The only avatar of the sandbox, under the id that it has at the provider.
WAYNE: Final = "dd73ea75-1218-4ef3-92ce-606d5f7fbc0a"
_MADE_AT: Final = "2026-04-01T09:00:00Z"


@dataclass(frozen=True)
class Avatar:
    id: str
    name: str
    voice: str
    colour: str
    own: bool = False
    status: str = "ACTIVE"

    def public(self, base: str) -> dict[str, Any]:
        """As the provider lists it. `base` is the address of the stand-in."""
        return {
            "id": self.id,
            "space_id": SPACE_ID if self.own else None,
            "type": "VIDEO",
            "status": self.status,
            "name": self.name,
            "preview_url": f"{base}/previews/{self.id}.svg",
            "is_expired": False,
            "default_voice": {"id": self.voice, "name": next(v.name for v in VOICES if v.id == self.voice)},
            "is_1080p": True,
            "created_at": _MADE_AT,
            "updated_at": _MADE_AT,
            "error_message": "The footage is too short." if self.status == "FAILED" else None,
        }

    def preview(self) -> str:
        """A drawn face, as an SVG document."""
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 160 90">'
            '<rect width="160" height="90" fill="#dfe6ee"/>'
            f'<circle cx="80" cy="44" r="30" fill="{self.colour}"/><circle cx="70" cy="38" r="3"/>'
            '<circle cx="90" cy="38" r="3"/>'
            '<path d="M68 54q12 9 24 0" fill="none" stroke="#000" stroke-width="2"/></svg>'
        )


@dataclass(frozen=True)
class Voice:
    id: str
    name: str
    language: str
    gender: str
    own: bool = False

    def public(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "language": self.language, "gender": self.gender}


VOICES: Final = (
    Voice("c2527536-6d1f-4412-a643-53a3497dada9", "Wayne", "English", "male"),
    Voice("0f5d9b1e-6f7c-4d2b-8f65-2b9c1a7e0d31", "Ann", "English", "female"),
    Voice("9a3f1c60-55d1-4e0a-93a7-7c1d5b8e2f42", "House voice", "English", "female", own=True),
)
AVATARS: Final = (
    Avatar(WAYNE, "Wayne", VOICES[0].id, "#e0ac7e"),
    Avatar("1c690fe7-23e0-49f9-bfba-14344450285b", "Ann", VOICES[1].id, "#f2c9a5"),
    Avatar("513fd1b7-7ef9-466d-9af2-344e51eeb833", "Judy", VOICES[1].id, "#c68863"),
    Avatar("64b526e4-741c-43b6-a918-4e40f3261c7a", "House face", VOICES[2].id, "#a9714b", own=True),
    Avatar("e9844e6d-847e-4964-a92b-7ecd066f69df", "Unfinished", VOICES[2].id, "#999999", own=True, status="FAILED"),
)


def avatar(avatar_id: str) -> Avatar | None:
    return next((known for known in AVATARS if known.id == avatar_id), None)


def voice(voice_id: str) -> Voice | None:
    return next((known for known in VOICES if known.id == voice_id), None)
