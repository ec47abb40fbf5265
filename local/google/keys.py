"""The keys that sign Google's ID tokens, and the two forms in which Google publishes them.

JWKS (RFC 7517) at /oauth2/v3/certs and X.509 certificates in PEM at /oauth2/v1/certs, both by key id.
"""

from __future__ import annotations

import base64
import hashlib
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from jwt.algorithms import RSAAlgorithm

ALGORITHM: Final = "RS256"
SCHEMA: Final = "create table if not exists signing_keys (kid text primary key, private_pem text not null);"
_KEY_BITS: Final = 2048
_CERTIFICATE_LIFE: Final = timedelta(days=3650)


class SigningKeys:
    """One key, made at the first start and kept."""

    def __init__(self, database: sqlite3.Connection) -> None:
        database.executescript(SCHEMA)
        row = database.execute("select kid, private_pem from signing_keys").fetchone()
        if row is None:
            row = _new_key()
            database.execute("insert into signing_keys (kid, private_pem) values (?, ?)", row)
        self._kid: str = row[0]
        loaded = serialization.load_pem_private_key(row[1].encode(), None)
        assert isinstance(loaded, rsa.RSAPrivateKey)
        self._key = loaded
        self._certificate = _certificate(loaded)

    def sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self._key, ALGORITHM, headers={"kid": self._kid})

    def read(self, token: str) -> dict[str, Any]:
        """The claims of a token signed here, whoever it is for. Raises jwt.PyJWTError for any other."""
        claims: dict[str, Any] = jwt.decode(
            token, self._key.public_key(), algorithms=[ALGORITHM], options={"verify_aud": False}
        )
        return claims

    def jwks(self) -> dict[str, Any]:
        public = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        members = {name: public[name] for name in ("kty", "n", "e")}
        return {"keys": [members | {"kid": self._kid, "use": "sig", "alg": ALGORITHM}]}

    def certificates(self) -> dict[str, str]:
        return {self._kid: self._certificate}


def hash_claim(token: str) -> str:
    """`at_hash`: the left half of the SHA-256 of a token (OpenID Connect Core 1.0, 3.1.3.6)."""
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()[:16]).decode().rstrip("=")


def _new_key() -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest()[:40], pem.decode()


def _certificate(key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "federated-signon.system.gserviceaccount.com")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _CERTIFICATE_LIFE)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
