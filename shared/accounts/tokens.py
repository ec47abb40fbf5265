"""Access tokens: ES256 JSON Web Tokens (RFC 7519), the keyring that signs them, and what verifiers read about it.

A keyring is JSON, `{"active": kid, "keys": [private JWK, …]}` (RFC 7517, EC P-256). It holds several keys so that they
can be exchanged without anybody noticing: all are published, one signs. A key's id is its RFC 7638 thumbprint. Whatever
else stands in the document is its administration's.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from pydantic import field_validator

from shared.accounts import rules
from shared.runtime.settings import SecretStr, Settings, load

ALGORITHM: Final = "ES256"
ROLE: Final = "authenticated"
_PUBLIC_MEMBERS: Final = ("kty", "crv", "x", "y", "kid")


@dataclass(frozen=True)
class Keyring:
    """The private keys by their ids, and the id of the one that signs."""

    active: str
    keys: Mapping[str, ec.EllipticCurvePrivateKey]


class SigningSettings(Settings):
    """What signing takes: the private keyring, and the names that go into each token."""

    access_token_keyring: SecretStr
    token_issuer: str
    token_audience: str = "authenticated"  # noqa: S105 - an audience, no secret

    @field_validator("access_token_keyring")
    @classmethod
    def _is_a_keyring(cls, value: SecretStr) -> SecretStr:
        parse_keyring(value.get_secret_value())
        return value


@functools.lru_cache(maxsize=4)
def parse_keyring(raw: str) -> Keyring:
    """Read a keyring.

    Raises:
        ValueError: it is not one; the sentence never repeats any of it.
    """
    try:
        document = json.loads(raw)
        keys = {str(key["kid"]): _private(key) for key in document["keys"]}
        active = str(document["active"])
    except (ValueError, KeyError, TypeError, jwt.PyJWTError):
        raise ValueError("it is not a keyring of EC P-256 private keys") from None
    if active not in keys:
        raise ValueError("its active key is not among its keys")
    return Keyring(active, keys)


def _private(jwk: Mapping[str, Any]) -> ec.EllipticCurvePrivateKey:
    key = ECAlgorithm.from_jwk(dict(jwk))
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not a private key on P-256")  # noqa: TRY004 - the caller handles one kind
    return key


def new_keyring() -> str:
    """A keyring of one fresh key, which is the active one."""
    jwk: dict[str, Any] = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    jwk |= {"kid": _thumbprint(jwk), "alg": ALGORITHM, "use": "sig"}
    return json.dumps({"active": jwk["kid"], "keys": [jwk]})


def _thumbprint(jwk: Mapping[str, Any]) -> str:
    members = json.dumps({name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).decode().rstrip("=")


def public_jwks(keyring: str) -> dict[str, Any]:
    """The public halves of all keys of a keyring, as the document that verifiers fetch (RFC 7517)."""
    parse_keyring(keyring)
    keys = [{name: key[name] for name in _PUBLIC_MEMBERS} for key in json.loads(keyring)["keys"]]
    return {"keys": [key | {"alg": ALGORITHM, "use": "sig"} for key in keys]}


def openid_configuration(issuer: str, jwks_url: str) -> dict[str, Any]:
    """What OpenID Connect Discovery 1.0 lets verifiers find: who issues, and where the keys are."""
    return {
        "issuer": issuer,
        "jwks_uri": jwks_url,
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
    }


def access_token(person_id: UUID, sign_in_id: UUID, now: datetime) -> str:
    """Sign an access token for a sign-in, valid for 15 minutes from `now`."""
    settings = load(SigningSettings)
    keyring = parse_keyring(settings.access_token_keyring.get_secret_value())
    claims = {
        "iss": settings.token_issuer,
        "aud": settings.token_audience,
        "iat": now,
        "exp": now + rules.ACCESS_TOKEN_LIFE,
        "sub": str(person_id),
        "sid": str(sign_in_id),
        "role": ROLE,
    }
    return jwt.encode(claims, keyring.keys[keyring.active], ALGORITHM, headers={"kid": keyring.active})
