"""Password hashes: bcrypt (https://www.usenix.org/legacy/events/usenix99/provos/provos.pdf), off the event loop."""

from __future__ import annotations

import asyncio
import functools
from typing import Final, NoReturn, Self

import bcrypt
from pydantic import Field, model_validator

from shared.accounts import rules
from shared.runtime import logs
from shared.runtime.errors import FieldError, Unprocessable
from shared.runtime.settings import Settings, load

_FLOOR: Final = 12
# The salt and digest of no password. Only the cost in front of them decides how long a comparison takes.
_NOBODYS: Final = "C6UzMDM.H6dfI/f/IKcEeO" + "7ZyR0eVQxWkTt3nJ5bqLh1uPmSdGa2i"


class PasswordSettings(Settings):
    """`password_cost` is bcrypt's work factor.

    Less than 12 is refused. Test suites that hash by the hundred say `allow_weak_password_hashes` beside it, which in
    turn is refused wherever the platform's own K_SERVICE is set.
    """

    password_cost: int = Field(default=_FLOOR, ge=4, le=16)
    allow_weak_password_hashes: bool = False
    k_service: str = ""

    @model_validator(mode="after")
    def _strong_enough(self) -> Self:
        if self.password_cost < _FLOOR and (not self.allow_weak_password_hashes or self.k_service):
            raise ValueError(f"PASSWORD_COST must be at least {_FLOOR}")
        return self


async def hashed(password: str) -> str:
    """Hash a password that `rules.password_refusal` has let pass."""
    cost = load(PasswordSettings).password_cost
    return (await asyncio.to_thread(_hash, rules.password_bytes(password), cost)).decode()


async def matches(password: str, stored: str | None) -> bool:
    """Whether `password` is the stored one. Takes the same time when nothing is stored, so that nobody can tell."""
    known = stored or f"$2b${load(PasswordSettings).password_cost:02d}${_NOBODYS}"
    given = rules.password_bytes(password)
    # Too long to be anybody's, but refused no sooner than any other wrong one.
    fits = len(given) <= rules.PASSWORD_MAX_BYTES
    equal = await asyncio.to_thread(_check, given[: rules.PASSWORD_MAX_BYTES], known.encode())
    return equal and fits and stored is not None


def is_outdated(stored: str) -> bool:
    """Whether a hash was made at a lower cost than passwords are hashed with now."""
    cost = stored.split("$")[2:3]
    return bool(cost) and cost[0].isdecimal() and int(cost[0]) < load(PasswordSettings).password_cost


def refuse_guessable(field: str, password: str, email: str) -> None:
    """Refuse a new password that others would try first: a common one, or the person's own address.

    Raises:
        Unprocessable: `password_common` at `field`.
    """
    if rules.is_own_address(password, email):
        _refuse(field, "Your own address is among the first passwords that somebody would try. Choose another one.")
    if rules.folded(password) in _common():
        _refuse(field, "This is one of the passwords that are tried first, since many people have it. Choose another.")


@functools.cache
def _common() -> frozenset[str]:
    # Thirty thousand passwords: loaded when the first one is set, not when a function starts.
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(FREQUENCY_LISTS["passwords"])


def _refuse(field: str, sentence: str) -> NoReturn:
    raise Unprocessable(
        f"Some of the request was refused: {field}.", fields=[FieldError(field, "password_common", sentence)]
    )


def _hash(password: bytes, cost: int) -> bytes:
    return bcrypt.hashpw(password, bcrypt.gensalt(cost))


def _check(password: bytes, stored: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, stored)
    except ValueError:
        logs.logger().warning("a stored password hash is none; its person has to set a new password")
        return False
