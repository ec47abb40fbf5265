"""What each kind of caller can do to each table, by the address that Supabase serves to the whole internet.

Each cell is one request to the real PostgREST: a caller, with our backend's key or without it, who tries something with
a row of somebody's. `expected` writes down what must come of it; `run` tries it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from shared.accounts.tokens import new_keyring
from tests.security.table_makers import TABLES
from tests.support.database import Database

# Words for what came of a request.
ROW, NOTHING, DENIED, KEYLESS = "the row", "nothing", "denied", "no key"
TOKEN, FOREIGN, INACTIVE, ENDED = "bad token", "not ours", "inactive", "ended"

_WORDS = {
    "42501": DENIED,
    "PGRST301": TOKEN,
    "PGRST303": TOKEN,
    "backend_only": KEYLESS,
    "token_invalid": FOREIGN,
    "person_inactive": INACTIVE,
    "sign_in_ended": ENDED,
}

# PostgREST itself, or the grants on the gate, turn these away before anybody looks at keys.
_AT_THE_DOOR = {"anonymous": DENIED, "expired": TOKEN, "forged": TOKEN}
_AT_THE_GATE = {"foreign issuer": FOREIGN, "ended sign-in": ENDED, "suspended": INACTIVE, "deleted": INACTIVE}
CALLERS = ("owner", "other", "administrator", *_AT_THE_GATE, *_AT_THE_DOOR, "server key")
ATTEMPTS = ("select", "select hidden", "insert", "upsert", "update", "delete")

_TABLES = """
select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'public' and c.relkind in ('r', 'p', 'v', 'm', 'f')
"""
# Columns that only the database ever fills refuse a value before anybody is asked for their rights.
_GENERATED = "select attname from pg_attribute where attrelid = %s::regclass and attidentity = 'a'"
_COLUMNS = "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
_FUNCTIONS = """
select p.proname, coalesce(p.proargnames[:p.pronargs], '{}'), has_function_privilege('authenticated', p.oid, 'execute'),
  has_function_privilege('service_role', p.oid, 'execute')
from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'public' order by p.proname
"""


@dataclass(frozen=True)
class Cell:
    """One attempt and what came of it."""

    subject: str
    caller: str
    with_key: bool
    attempt: str
    expected: str
    found: str

    @property
    def held(self) -> bool:
        return self.found == self.expected

    def __str__(self) -> str:
        key = "with" if self.with_key else "without"
        return (
            f"{self.caller}, {key} the backend's key: {self.attempt} {self.subject}: {self.found}, not {self.expected}"
        )


def expected(table: str, caller: str, attempt: str, *, with_key: bool) -> str:
    """What must come of an attempt. Only the owner's own rows, and only columns meant for them, are ever given out."""
    readable = bool(TABLES[table].readable) and attempt == "select"
    if caller == "owner" and with_key and readable:
        return ROW
    if caller in {"other", "administrator"} and with_key and readable:
        return NOTHING
    return _refusal(caller, with_key=with_key) or DENIED


def _refusal(caller: str, *, with_key: bool) -> str | None:
    """What stops a caller on the way to any table or function; None for who comes as far as the grants."""
    if caller in _AT_THE_DOOR:
        return _AT_THE_DOOR[caller]
    return _AT_THE_GATE.get(caller) if with_key else KEYLESS


def catalogued(db: Database) -> set[str]:
    """Everything in the schema public that can be read as a table."""
    return {str(row[0]) for row in db.rows(_TABLES)}


class Cast:
    """Somebody of each kind, who has a row in every table, and the credentials they bring."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.owner = db.person(full_name="Ada")
        self._rows: dict[tuple[str, str], str] = {}
        people = {"owner": self.owner, "suspended": db.person(), "deleted": db.person()}
        for name, person in people.items():
            self._rows |= {(table, name): spec.make(person) for table, spec in TABLES.items()}
        for status in ("suspended", "deleted"):
            db.run("update public.users set status = %s where id = %s", status, people[status].id)
        self._tokens = {name: person.token for name, person in people.items()} | self._others()

    def _others(self) -> dict[str, str]:
        db, owner, administrator = self.db, self.owner, self.db.person()
        db.run("update public.users set is_admin = true where id = %s", administrator.id)
        ended = db.sign_in(owner.id, owner.email)
        ended.serve("end_sign_in")
        return {
            "other": db.person(full_name="Bob").token,
            "administrator": administrator.token,
            "ended sign-in": ended.token,
            "expired": db.sign(owner.id, owner.sign_in_id, exp=int(time.time()) - 3600),
            "forged": db.sign(owner.id, owner.sign_in_id, keyring=new_keyring()),
            "foreign issuer": db.sign(owner.id, owner.sign_in_id, iss="https://elsewhere.test"),
        }

    def row(self, table: str, caller: str) -> str:
        """The key of the row that a caller tries: their own where they are no longer let in, else the owner's."""
        return self._rows[table, caller if caller in {"suspended", "deleted"} else "owner"]

    def content(self, table: str, caller: str) -> list[tuple[Any, ...]]:
        """The row as it is stored, seen past every wall."""
        key = TABLES[table].key
        return self.db.rows(
            f"select to_jsonb(t) from public.{table} t where {key}::text = %s",  # noqa: S608
            self.row(table, caller),
        )

    def headers(self, caller: str, *, with_key: bool) -> dict[str, str]:
        keys = self.db.running.keys
        apikey = keys.secret if caller == "server key" else keys.publishable
        headers = {"apikey": apikey}
        if caller in self._tokens:
            headers["Authorization"] = f"Bearer {self._tokens[caller]}"
        return headers | ({"X-Backend-Key": keys.backend} if with_key else {})


def run(cast: Cast, table: str, caller: str) -> Iterator[Cell]:
    """Try everything that a caller could do to one table, with the backend's key and without it."""
    row = cast.content(table, caller)[0][0]
    columns = [str(name) for (name,) in cast.db.rows(_COLUMNS, f"public.{table}")]
    hidden = [name for name in columns if name not in TABLES[table].readable]
    for (name,) in cast.db.rows(_GENERATED, f"public.{table}"):
        del row[name]
    for with_key in (False, True):
        requests = _requests(table, cast.row(table, caller), row, hidden)
        for attempt, request in requests:
            answer = _send(cast, caller, with_key=with_key, **request)
            wanted = expected(table, caller, attempt, with_key=with_key)
            yield Cell(table, caller, with_key, attempt, wanted, _word(answer))


def _requests(
    table: str, value: str, row: Mapping[str, Any], hidden: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    key, path = TABLES[table].key, f"/{table}"
    mine = {key: f"eq.{value}"}
    yield (
        "select",
        {"method": "GET", "path": path, "params": mine | {"select": ",".join(TABLES[table].readable) or "*"}},
    )
    for column in hidden:
        yield "select hidden", {"method": "GET", "path": path, "params": mine | {"select": column}}
    yield "insert", {"method": "POST", "path": path, "json": {**row, key: _another(value)}}
    merging = {"Prefer": "resolution=merge-duplicates"}
    yield "upsert", {"method": "POST", "path": path, "json": dict(row), "more_headers": merging}
    yield "update", {"method": "PATCH", "path": path, "params": mine, "json": dict(row)}
    yield "delete", {"method": "DELETE", "path": path, "params": mine}


def _another(value: str) -> str:
    """A value of the same form, as the key of a row that is not there yet."""
    if value.isdigit():
        return str(int(value) + 10**9)
    return uuid4().hex * 2 if len(value) == 64 else str(uuid4())


def run_functions(cast: Cast, caller: str) -> Iterator[Cell]:
    """Call every SQL function that a caller must not be able to call. What they may is left alone: it would work."""
    for name, arguments, for_people, for_server in cast.db.rows(_FUNCTIONS):
        for with_key in (False, True):
            wanted = _refusal(caller, with_key=with_key)
            granted = for_server if caller == "server key" else for_people
            if wanted is None and granted:
                continue
            body = dict.fromkeys(arguments)
            answer = _send(cast, caller, with_key=with_key, method="POST", path=f"/rpc/{name}", json=body)
            yield Cell(name, caller, with_key, "call", wanted or DENIED, _word(answer))


def _send(
    cast: Cast,
    caller: str,
    *,
    with_key: bool,
    method: str,
    path: str,
    more_headers: Mapping[str, str] | None = None,
    **request: Any,
) -> httpx.Response:
    headers = cast.headers(caller, with_key=with_key) | dict(more_headers or {})
    return cast.db.http.request(method, f"{cast.db.running.supabase_url}/rest/v1{path}", headers=headers, **request)


def _word(answer: httpx.Response) -> str:
    """One word for an answer; its status and text where it is none of those that are known."""
    document = answer.json() if answer.content else None
    if answer.status_code == 200 and isinstance(document, list):
        return ROW if len(document) == 1 else NOTHING if not document else f"{len(document)} rows"
    if answer.status_code in {401, 403} and isinstance(document, dict):
        word = _WORDS.get(document["code"]) or _WORDS.get(document["message"])
        if word is not None:
            return word
    return f"{answer.status_code} {answer.text[:200]}"
