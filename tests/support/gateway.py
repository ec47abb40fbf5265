"""A gateway over small functions of its own, served on a real port, for the tests of what the gateway does."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from starlette.types import ASGIApp

from local.gateway.application import build
from local.gateway.passage import MAX_HEADER_BYTES
from local.places import Places
from local.public_objects import public_objects
from local.serving import http_server
from shared.http.declaration import Function
from shared.http.settings import TokenSettings

ISSUER = "https://tokens.oprina.test"


def free_socket() -> socket.socket:
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it each answer waits for 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    return listening


@asynccontextmanager
async def served(app: ASGIApp, listening: socket.socket) -> AsyncIterator[str]:
    """Serve an application on a bound socket; gives its base address."""
    port = listening.getsockname()[1]
    server = http_server(app, port)
    server.config.h11_max_incomplete_event_size = 4 * MAX_HEADER_BYTES
    running = asyncio.create_task(server.serve(sockets=[listening]))
    await eventually(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running


async def eventually(holds: Callable[[], bool], seconds: float = 5) -> bool:
    """Wait until something holds; whether it came to."""
    until = time.monotonic() + seconds
    for _ in range(int(seconds * 100)):
        if holds() or time.monotonic() > until:
            break
        await asyncio.sleep(0.01)
    return holds()


class Issuer:
    """Signs tokens as the product does, and tells its public key."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())

    def jwks(self) -> dict[str, Any]:
        public = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [public | {"kid": "one", "alg": "ES256", "use": "sig"}]}

    def sign(self, key: ec.EllipticCurvePrivateKey | None = None, kid: str = "one", **changes: Any) -> str:
        """A valid token but for `changes` of its claims; None leaves a claim out."""
        now = int(time.time())
        claims: dict[str, Any] = {"iss": ISSUER, "aud": "authenticated", "sub": "p", "iat": now, "exp": now + 60}
        claims = {name: value for name, value in (claims | changes).items() if value is not None}
        return jwt.encode(claims, key or self.key, "ES256", headers={"kid": kid})


@dataclass
class RunningGateway:
    base: str
    issuer: Issuer
    client: httpx.AsyncClient
    places: Places


@asynccontextmanager
async def running_gateway(
    folder: Path, functions: Sequence[Function], apps: Mapping[str, ASGIApp]
) -> AsyncIterator[RunningGateway]:
    """A gateway over `functions`, with its keys published as the product publishes them."""
    issuer = Issuer()
    (folder / "jwks.json").write_text(json.dumps(issuer.jwks()))
    front, keys = free_socket(), free_socket()
    places = Places(folder, front.getsockname()[1])
    async with served(public_objects(folder), keys) as objects:
        tokens = TokenSettings(token_issuer=ISSUER, jwks_url=f"{objects}/jwks.json")
        app = build(places, functions, apps, tokens)
        async with served(app, front) as base, httpx.AsyncClient(base_url=base, timeout=30) as client:
            yield RunningGateway(base, issuer, client, places)
