"""What a rotation does next: pure decisions over the newest keyring, the published keys and the time.

A rotation is written in the keyring itself, so that every version of the secret says where it stood:
`"rotation": {"old": kid, "new": kid, "deployed_at": RFC 3339 | null}` beside the keyring's own members
(`shared.accounts.tokens`). Without it there is one key and nothing under way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from shared.accounts.tokens import new_keyring, parse_keyring, public_jwks

# Supabase keeps the published keys for up to 30 minutes, API Gateway and our functions for 5.
CACHES: Final = timedelta(minutes=40)
# An access token lives for 15 minutes, and clocks differ.
TOKENS: Final = timedelta(minutes=20)


class Step(StrEnum):
    """What is to be done, or waited for."""

    BEGIN = "begin"
    PUBLISH = "publish"
    SIGN = "sign"
    DEPLOY = "deploy"
    WITHDRAW = "withdraw"


class RotationRefused(Exception):
    """The keyring is in a state that no rotation leads to; the sentence says which."""


@dataclass(frozen=True)
class Ring:
    """A keyring document, without the private parts in its representation."""

    document: Mapping[str, Any]

    @classmethod
    def read(cls, raw: str) -> Ring:
        """Raises RotationRefused: this is no keyring, or one that no rotation leads to."""
        try:
            parse_keyring(raw)
        except ValueError as error:
            raise RotationRefused(f"The newest version of the secret cannot be used: {error}.") from None
        ring = cls(json.loads(raw))
        ring._check()
        return ring

    @classmethod
    def first(cls) -> Ring:
        return cls(json.loads(new_keyring()))

    def _check(self) -> None:
        rotation = self.rotation
        if rotation is None and len(self.kids) == 1:
            return
        if rotation is not None and [rotation.get("old"), rotation.get("new")] == self.kids:
            return
        raise RotationRefused("The keyring holds several keys, and does not say which of them comes and which goes.")

    def __repr__(self) -> str:
        return f"Ring(active={self.active!r}, kids={self.kids!r})"

    @property
    def text(self) -> str:
        return json.dumps(self.document)

    @property
    def active(self) -> str:
        return str(self.document["active"])

    @property
    def kids(self) -> list[str]:
        return [str(key["kid"]) for key in self.document["keys"]]

    @property
    def rotation(self) -> Mapping[str, Any] | None:
        return self.document.get("rotation")

    @property
    def signs_with_new(self) -> bool:
        return self.rotation is not None and self.active == self.rotation["new"]

    @property
    def deployed_at(self) -> datetime | None:
        stamp = (self.rotation or {}).get("deployed_at")
        return datetime.fromisoformat(stamp) if stamp else None

    @property
    def public(self) -> bytes:
        """The document that verifiers read."""
        return json.dumps(public_jwks(self.text), separators=(",", ":")).encode()

    # Each step of a rotation gives the next document

    def with_new_key(self) -> Ring:
        fresh = json.loads(new_keyring())
        keys = [*self.document["keys"], *fresh["keys"]]
        rotation = {"old": self.active, "new": fresh["active"], "deployed_at": None}
        return Ring({"active": self.active, "keys": keys, "rotation": rotation})

    def signing_with_new(self) -> Ring:
        assert self.rotation is not None
        return Ring({**self.document, "active": self.rotation["new"]})

    def deployed(self, at: datetime) -> Ring:
        assert self.rotation is not None
        return Ring({**self.document, "rotation": {**self.rotation, "deployed_at": at.isoformat()}})

    def without_old_key(self) -> Ring:
        assert self.rotation is not None
        keys = [key for key in self.document["keys"] if key["kid"] != self.rotation["old"]]
        return Ring({"active": self.active, "keys": keys})


@dataclass(frozen=True)
class Published:
    """The published document, when it was put there, and what says that it is still this one."""

    content: bytes
    since: datetime
    generation: str


@dataclass(frozen=True)
class State:
    """The newest version of the keyring (None before the first), and what verifiers can read."""

    ring: Ring | None
    version: int
    published: Published | None

    @property
    def is_published(self) -> bool:
        return self.ring is not None and self.published is not None and self._same(self.published.content)

    def _same(self, content: bytes) -> bool:
        assert self.ring is not None
        try:
            return bool(json.loads(content) == json.loads(self.ring.public))
        except ValueError:
            return False


@dataclass(frozen=True)
class Next:
    """A step, and from when on it may be taken."""

    step: Step
    due: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        return self.due is None or self.due <= now

    def at_once(self) -> Next:
        return replace(self, due=None)


def next_step(state: State) -> Next:
    """What comes next, whatever came before it and wherever that broke off.

    The published document follows the keyring, always and first: a version that was added and not published, or a key
    that was taken out of the keyring and is still published, is set right before anything else is done.
    """
    ring = state.ring
    if ring is None:
        return Next(Step.BEGIN)
    if not state.is_published:
        return Next(Step.PUBLISH)
    assert state.published is not None
    if ring.rotation is None:
        return Next(Step.BEGIN)
    if not ring.signs_with_new:
        return Next(Step.SIGN, state.published.since + CACHES)
    if ring.deployed_at is None:
        return Next(Step.DEPLOY)
    return Next(Step.WITHDRAW, ring.deployed_at + TOKENS)
