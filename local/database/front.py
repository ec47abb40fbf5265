"""What Supabase puts before PostgREST: the address `/rest/v1`, and API keys that become roles.

Rules, as Supabase documents them (https://supabase.com/docs/guides/api/api-keys) and as the configuration of its
self-hosted gateway has them: `apikey` names the project's publishable or secret key. A person's token in
`Authorization` is passed on. Where there is none, or the key itself is repeated there, the publishable key stands for
the role anon and the secret key for service_role, by a short token signed here. A browser's secret key is refused.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpcore
import jwt

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Front = Callable[[Scope, Receive, Send], Awaitable[None]]

PREFIX = "/rest/v1"
STAND_IN = "supabase"
_SERVER_TOKEN_SECONDS = 300
_POOLS, _POOL_SIZE = 16, 8
_TIMEOUT = {"connect": 3.0, "read": 30.0, "write": 30.0, "pool": 30.0}
_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
_DROPPED = _HOP_BY_HOP | {b"host", b"apikey", b"authorization"}


class Fault(Protocol):
    """What happens to one call: wait, fail, or else do the work and perhaps lose the answer."""

    @property
    def delay_ms(self) -> int: ...
    @property
    def lose_answer(self) -> bool: ...
    @property
    def http_status(self) -> int: ...
    @property
    def says(self) -> str | None: ...
    def should_fail(self) -> bool: ...


class Faults(Protocol):
    """Asked before each call; the method is the SQL function's name, or the table's."""

    def for_call(self, stand_in: str, method: str, /) -> Fault: ...


@dataclass(frozen=True)
class FrontKeys:
    """The project's two API keys, and the secret (32 bytes or more) that signs the tokens PostgREST takes from here."""

    publishable: str
    secret: str
    signing_secret: str


class Refused(Exception):
    """The gateway answers instead of PostgREST, with 401 and this message."""


class _Broken(Exception):
    """Raised through the server on purpose: it closes the connection in the middle of an answer."""


class _Roles:
    """Which `Authorization` PostgREST sees for the headers of a request."""

    def __init__(self, keys: FrontKeys) -> None:
        self._keys = keys
        self._server_token = ""
        self._renew_at = 0.0

    def authorization(self, headers: Mapping[bytes, bytes]) -> bytes | None:
        """Raises Refused: no API key, an unknown one, or the secret key where it must never be."""
        apikey = headers.get(b"apikey", b"").decode("latin-1")
        if not apikey:
            raise Refused("No API key found in request")
        is_secret = hmac.compare_digest(apikey.encode(), self._keys.secret.encode())
        if not is_secret and not hmac.compare_digest(apikey.encode(), self._keys.publishable.encode()):
            raise Refused("Invalid API key")
        if is_secret and b"Mozilla/" in headers.get(b"user-agent", b""):
            raise Refused("Forbidden use of secret API key in browser")
        bearer = headers.get(b"authorization", b"")
        if bearer and not bearer.startswith(b"Bearer sb_"):
            return bearer
        if bearer and not hmac.compare_digest(bearer, b"Bearer " + apikey.encode()):
            raise Refused("Invalid API key")
        return f"Bearer {self._service_role()}".encode() if is_secret else None

    def _service_role(self) -> str:
        now = time.time()
        if now >= self._renew_at:
            claims = {
                "role": "service_role",
                "iss": "supabase",
                "iat": int(now),
                "exp": int(now) + _SERVER_TOKEN_SECONDS,
            }
            self._server_token = jwt.encode(claims, self._keys.signing_secret, "HS256", headers={"kid": "front"})
            self._renew_at = now + _SERVER_TOKEN_SECONDS / 2
        return self._server_token


class _Pools:
    """Many small pools, filled one after the other: a large one takes longer for each request the larger it is."""

    def __init__(self) -> None:
        self._pools = [
            httpcore.AsyncConnectionPool(
                max_connections=200, max_keepalive_connections=_POOL_SIZE, keepalive_expiry=60, retries=1
            )
            for _ in range(_POOLS)
        ]
        self._busy = [0] * _POOLS

    async def request(
        self, method: str, url: httpcore.URL, headers: list[tuple[bytes, bytes]], content: bytes
    ) -> httpcore.Response:
        number = next((n for n, busy in enumerate(self._busy) if busy < _POOL_SIZE), self._busy.index(min(self._busy)))
        self._busy[number] += 1
        try:
            return await self._pools[number].request(
                method, url, headers=headers, content=content or None, extensions={"timeout": _TIMEOUT}
            )
        finally:
            self._busy[number] -= 1

    async def aclose(self) -> None:
        for pool in self._pools:
            await pool.aclose()


def create_front(upstream: str, keys: FrontKeys, faults: Faults | None = None) -> Front:
    """The ASGI application in front of the PostgREST at `upstream` (http://host:port).

    Its connections belong to the event loop that serves it; they close with the application's lifespan.
    """
    roles = _Roles(keys)
    pools = _Pools()

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send, pools)
            return
        path: str = scope["path"]
        if path != PREFIX and not path.startswith(PREFIX + "/"):
            await _say(send, 404, "no Route matched with those values")
            return
        fault = faults.for_call(STAND_IN, path.rsplit("/", 1)[-1]) if faults else None
        if fault is not None and await _fails(fault):
            await _say(send, fault.http_status, fault.says or "this failure was asked for")
            return
        try:
            answer = await _forward(pools, upstream, roles, scope, receive)
        except Refused as refusal:
            await _say(send, 401, str(refusal))
        except httpcore.ConnectError:
            await _say(send, 503, "name resolution failed")
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
            await _say(send, 502, "An invalid response was received from the upstream server")
        else:
            await _pass_on(send, answer, lost=fault is not None and fault.lose_answer)

    return front


async def _fails(fault: Fault) -> bool:
    if fault.delay_ms:
        await asyncio.sleep(fault.delay_ms / 1000)
    return fault.should_fail()


async def _forward(pools: _Pools, upstream: str, roles: _Roles, scope: Scope, receive: Receive) -> httpcore.Response:
    authorization = None
    if scope["method"] != "OPTIONS":  # a browser's preflight carries no key
        authorization = roles.authorization(dict(scope["headers"]))
    headers = [(name, value) for name, value in scope["headers"] if name not in _DROPPED]
    if authorization is not None:
        headers.append((b"authorization", authorization))
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    target = raw_path[len(PREFIX) :] or b"/"
    url = httpcore.URL(upstream.rstrip("/").encode() + target + (b"?" + query if query else b""))
    host = (b"host", url.host + b":" + str(url.port).encode())
    content = await _body(receive)
    return await pools.request(scope["method"], url, [host, *headers], content)


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _pass_on(send: Send, answer: httpcore.Response, *, lost: bool) -> None:
    body = answer.content
    headers = [(name, value) for name, value in answer.headers if name.lower() not in _HOP_BY_HOP | {b"content-length"}]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if lost:
        raise _Broken("the answer was lost, as asked for")
    await send({"type": "http.response.body", "body": body})


async def _say(send: Send, status: int, message: str) -> None:
    body = json.dumps({"message": message}, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Receive, send: Send, pools: _Pools) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await pools.aclose()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
