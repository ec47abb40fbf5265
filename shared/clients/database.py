"""Supabase's database through PostgREST: one SQL function for one use case, one round trip each.

Wire format: https://docs.postgrest.org/en/v12/references/api/functions.html. Refusals of our SQL functions arrive as
error code `PT` and the HTTP status, with our code word in `message`, a sentence in `hint`, and further members as JSON
in `details`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import httpx
from postgrest import APIError, AsyncPostgrestClient

from shared.clients.connections import Connections
from shared.runtime import telemetry
from shared.runtime.errors import OprinaError, Unauthenticated, Unavailable, Unprocessable, error_for_status
from shared.runtime.settings import SecretStr, Settings, load
from shared.runtime.visit import Entry, Replay, Visit

# PostgreSQL's untranslatable_character and character_not_in_repertoire: text of the caller's that it cannot hold.
_UNSTORABLE = frozenset({"22P05", "22021"})

_OF_THE_SCHEMA = re.compile(r'\b(relation|table|column|constraint|function) "([a-z_]{1,63})"')

_TIMEOUT = httpx.Timeout(10.0, connect=3.0)


class DatabaseSettings(Settings):
    """Where the database is, the key that says which project, and the key that says it is our backend calling."""

    supabase_url: str
    supabase_publishable_key: str
    backend_key: SecretStr


class ServerSettings(Settings):
    """The key of functions that call the database where no person's token exists."""

    supabase_secret_key: SecretStr


# One connection pool for each event loop: a process has one, tests may have several.
_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()


def _pool() -> httpx.AsyncClient:
    loop = asyncio.get_running_loop()
    pool = _pools.get(loop)
    if pool is None:
        pool = httpx.AsyncClient(timeout=_TIMEOUT, transport=Connections())
        _pools[loop] = pool
    return pool


async def serve(visit: Visit, function: str, **parameters: Any) -> Any:
    """Call a SQL function that opens with `enter`, as the visit's person, or with the server key where there is none.

    Returns:
        The function's `data`. What `enter` said is left in `visit.entry`.

    Raises:
        Replay: the visit's idempotency key has ended before.
        OprinaError: the refusal that the function raised.
        Unavailable: the database does not answer (`database_unavailable`).
    """
    answer = await _call(function, {"p_entry": visit.as_parameter(), **parameters}, visit.token)
    entry = answer["entry"]
    rate = entry.get("rate") or {}
    visit.entry = Entry(bool(entry.get("admin")), rate.get("limit"), rate.get("remaining"), rate.get("reset_seconds"))
    replay = entry.get("replay")
    if replay is not None:
        raise Replay(replay["status"], replay["body"], replay.get("fingerprint"))
    return answer["data"]


async def call(function: str, *, token: str | None = None, **parameters: Any) -> Any:
    """Call a SQL function that does not open with `enter`; with the server key unless a token is given."""
    return await _call(function, parameters, token)


async def _call(function: str, parameters: Mapping[str, Any], token: str | None) -> Any:
    settings = load(DatabaseSettings)
    key = settings.supabase_publishable_key if token else load(ServerSettings).supabase_secret_key.get_secret_value()
    headers = {
        "apikey": key,
        "Authorization": f"Bearer {token or key}",
        "X-Backend-Key": settings.backend_key.get_secret_value(),
    }
    trace = telemetry.current()
    if trace is not None:
        headers["X-Request-Id"] = trace.request_id
    client = AsyncPostgrestClient(
        settings.supabase_url.rstrip("/") + "/rest/v1",
        headers=headers,
        http_client=_pool(),
        retry_enabled=False,
    )
    try:
        return (await client.rpc(function, dict(parameters)).execute()).data
    except APIError as error:
        raise _translated(error) from None
    except httpx.HTTPError as error:
        raise Unavailable(
            "The database does not answer just now. Try again in a moment.",
            code="database_unavailable",
            retry_after_seconds=1,
        ) from error


def _translated(error: APIError) -> OprinaError:
    code = str(error.code or "")
    if code.startswith("PT"):
        extra = json.loads(error.details) if error.details else {}
        kind = error_for_status(int(code[2:]))
        return kind(error.hint or kind.title, code=error.message, extra=extra)
    if code in {"PGRST301", "PGRST302", "PGRST303"}:
        return Unauthenticated("The access token is not valid here. Sign in again.")
    if code in _UNSTORABLE:
        return Unprocessable("Text cannot hold the NUL character.", code="text_invalid")
    # Anything else is a defect or a database that refuses to write: the reason goes to the log, not to the caller.
    return DatabaseRefused(code, error.message)


class DatabaseRefused(Unavailable):
    """The database refused for a reason of its own; `sqlstate` and what it names of its own are for the log only.

    Its whole sentence is not even for the log: it may quote what the row was to hold.
    """

    def __init__(self, sqlstate: str, message: str | None) -> None:
        super().__init__("The database could not do this just now. Try again.", code="database_refused")
        self.sqlstate = sqlstate
        named = (" ".join(found) for found in _OF_THE_SCHEMA.findall(message or ""))
        self.add_note(", ".join([f"SQLSTATE {sqlstate}", *named]))
