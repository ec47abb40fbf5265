"""The issuer's keys as verifiers hold them: fetched when they are needed, and forgotten when they are withdrawn."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from shared.clients import jwks
from shared.clients.jwks import KeysUnavailable, UnknownKey, signing_key

OLD, NEW = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


@dataclass
class Issuer:
    """Publishes keys by their ids, and counts how often they are asked for."""

    url: str = ""
    keys: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)
    asked: int = 0
    away: bool = False

    def document(self) -> bytes:
        public = [
            ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid, "alg": "ES256", "use": "sig"}
            for kid, key in self.keys.items()
        ]
        return json.dumps({"keys": public}).encode()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    publishing = Issuer(keys={"old": OLD})

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            publishing.asked += 1
            self.send_response(503 if publishing.away else 200)
            self.end_headers()
            self.wfile.write(b"" if publishing.away else publishing.document())

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    publishing.url = f"http://127.0.0.1:{server.server_port}/jwks.json"
    yield publishing
    server.shutdown()
    server.server_close()


def token(kid: str) -> str:
    return jwt.encode({"sub": "somebody"}, OLD if kid == "old" else NEW, "ES256", headers={"kid": kid})


def forget_after(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what was fetched be old after so long."""
    monkeypatch.setattr(jwks, "_LIFESPAN_SECONDS", seconds)


async def test_keys_are_fetched_once_for_many_tokens(issuer: Issuer) -> None:
    for _ in range(5):
        await signing_key(issuer.url, token("old"))
    assert issuer.asked == 1


async def test_a_withdrawn_key_is_good_no_longer_once_the_fetched_keys_are_old(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_after(1e-6, monkeypatch)
    await signing_key(issuer.url, token("old"))
    issuer.keys = {"new": NEW}
    with pytest.raises(UnknownKey):
        await signing_key(issuer.url, token("old"))
    await signing_key(issuer.url, token("new"))


async def test_both_keys_are_good_while_both_are_published(issuer: Issuer) -> None:
    issuer.keys = {"old": OLD, "new": NEW}
    for kid in ("old", "new"):
        jwt.decode(token(kid), await signing_key(issuer.url, token(kid)), ["ES256"])


async def test_keys_at_hand_outlast_an_issuer_that_is_away(issuer: Issuer) -> None:
    await signing_key(issuer.url, token("old"))
    issuer.away = True
    await signing_key(issuer.url, token("old"))


async def test_an_issuer_that_is_away_is_no_reason_to_call_a_token_forged(issuer: Issuer) -> None:
    issuer.away = True
    with pytest.raises(KeysUnavailable):
        await signing_key(issuer.url, token("old"))
