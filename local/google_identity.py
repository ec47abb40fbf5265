"""Stands in for Google where it vouches for a service account: the tokens that the queue and the scheduler attach.

OpenID Connect tokens (RS256) in the form of https://cloud.google.com/docs/authentication/token-types#id, and the keys
to check them with in both forms that Google publishes: a JWKS (`oauth2/v3/certs`) and X.509 certificates
(`oauth2/v1/certs`). Workers fetch them from this machine's address instead of www.googleapis.com.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from jwt.algorithms import RSAAlgorithm

ISSUER: Final = "https://accounts.google.com"
LIFETIME_SECONDS: Final = 3600
REUSED_SECONDS: Final = 1800
JWKS_OBJECT: Final = "google/oauth2/v3/certs"
X509_OBJECT: Final = "google/oauth2/v1/certs"
_KEY_BITS: Final = 2048


@dataclass(frozen=True)
class _Signed:
    token: str
    good_until: float


class GoogleIdentity:
    """Signs with one key that is kept in `key_file`, made at the first use."""

    def __init__(self, key_file: Path) -> None:
        self._key = _kept_key(key_file)
        self.key_id = hashlib.sha256(_public_bytes(self._key)).hexdigest()[:40]
        self._signed: dict[tuple[str, str], _Signed] = {}

    def id_token(self, email: str, audience: str) -> str:
        """A token of the service account `email` for `audience`, good for at least half an hour.

        Its times are the machine's: whoever checks it does not know that a stand-in's clock was moved.
        """
        now = time.time()
        known = self._signed.get((email, audience))
        if known is None or known.good_until < now:
            known = _Signed(self._sign(email, audience, int(now)), now + REUSED_SECONDS)
            self._signed[email, audience] = known
        return known.token

    def publish(self, folder: Path) -> None:
        """Leave the public keys in both forms under a folder of public objects."""
        _write(folder / JWKS_OBJECT, {"keys": [self.jwk()]})
        _write(folder / X509_OBJECT, {self.key_id: self._certificate()})

    def jwk(self) -> dict[str, Any]:
        public = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.key_id, "n": public["n"], "e": public["e"]}

    def _sign(self, email: str, audience: str, now: int) -> str:
        subject = _unique_id(email)
        claims = {
            "iss": ISSUER,
            "aud": audience,
            "azp": subject,
            "sub": subject,
            "email": email,
            "email_verified": True,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
        }
        return jwt.encode(claims, self._key, "RS256", headers={"kid": self.key_id})

    def _certificate(self) -> str:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "federated-signon.system.gserviceaccount.com")])
        begins = datetime(2020, 1, 1, tzinfo=UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(int(self.key_id[:30], 16))
            .not_valid_before(begins)
            .not_valid_after(begins + timedelta(days=36_500))
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode()


def access_token(email: str, scope: str) -> str:
    """Looks like Google's OAuth tokens, and opens nothing: it names the account and the scope for a person to read."""
    return f"ya29.local.{email}.{hashlib.sha256(scope.encode()).hexdigest()[:12]}.{secrets.token_urlsafe(16)}"


def _unique_id(email: str) -> str:
    """21 digits, as Google numbers its accounts; the same for the same address."""
    return "1" + str(int(hashlib.sha256(email.encode()).hexdigest(), 16))[:20]


def _kept_key(file: Path) -> rsa.RSAPrivateKey:
    if file.exists():
        # Checking that a key of our own is a good one takes longer than the rest of a start.
        kept = serialization.load_pem_private_key(file.read_bytes(), None, unsafe_skip_rsa_key_validation=True)
        return cast("rsa.RSAPrivateKey", kept)
    key = rsa.generate_private_key(65_537, _KEY_BITS)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(key.private_bytes(*form))
    fresh.replace(file)
    return key


def _public_bytes(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _write(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(file.name + ".new")
    fresh.write_text(json.dumps(content))
    fresh.replace(file)
