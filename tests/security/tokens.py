"""Access tokens of every kind that must open nothing, made from one that does."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from shared.accounts import tokens
from tests.support.database import DatabasePerson


def part(value: Any) -> str:
    """One part of a JSON Web Token."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def claims_of(person: DatabasePerson, **changes: Any) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(person.token, options={"verify_signature": False})
    return claims | changes


def _signed(person: DatabasePerson, header: Mapping[str, Any] | None = None, **changes: Any) -> str:
    """By our own key, but for what is changed of the claims and the header."""
    ring = tokens.parse_keyring(person.database.keyring)
    headers = {"kid": ring.active} | dict(header or {})
    return jwt.encode(claims_of(person, **changes), ring.keys[ring.active], "ES256", headers=headers)


def _by_own_key(person: DatabasePerson, header: Mapping[str, Any] | None = None) -> str:
    """By a key that is not ours, under the name of ours; the header may bring the key along."""
    own = ec.generate_private_key(ec.SECP256R1())
    kid = tokens.parse_keyring(person.database.keyring).active
    brought: dict[str, Any] = ECAlgorithm.to_jwk(own.public_key(), as_dict=True)
    given = {name: brought if value is ... else value for name, value in (header or {}).items()}
    return jwt.encode(claims_of(person), own, "ES256", headers={"kid": kid} | given)


def _unsigned(person: DatabasePerson) -> str:
    kid = tokens.parse_keyring(person.database.keyring).active
    return f"{part({'alg': 'none', 'typ': 'JWT', 'kid': kid})}.{part(claims_of(person))}."


def _by_public_key(person: DatabasePerson) -> str:
    """HS256, taking the bytes of our public key, which anybody can fetch, for a shared secret."""
    ring = tokens.parse_keyring(person.database.keyring)
    public = ring.keys[ring.active].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    content = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': ring.active})}.{part(claims_of(person))}"
    return f"{content}.{part(hmac.new(pem, content.encode(), sha256).digest())}"


# Each makes a token for a person that is refused for one reason, and for that one alone.
FORGERIES: dict[str, Callable[[DatabasePerson], str]] = {
    "wrong audience": lambda person: _signed(person, aud="anon"),
    "wrong issuer": lambda person: _signed(person, iss="https://elsewhere.test"),
    "wrong role": lambda person: _signed(person, role="service_role"),
    "wrong type": lambda person: _signed(person, {"typ": "refresh+jwt"}),
    "another key": _by_own_key,
    "alg none": _unsigned,
    "HS256 by the public key": _by_public_key,
    "jwk in the header": lambda person: _by_own_key(person, {"jwk": ...}),
    "jku in the header": lambda person: _by_own_key(person, {"jku": "https://elsewhere.test/jwks.json"}),
}


def expired(person: DatabasePerson) -> str:
    now = int(time.time())
    return _signed(person, iat=now - 3600, exp=now - 2700)
