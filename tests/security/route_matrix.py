"""What each kind of caller gets from each operation: through the gateway, and straight at the function behind it.

Each cell is one request. `expected` writes down what must come of it, from the operation's declaration alone; `run`
tries it, with something of the owner's in the path, and looks whether anything of theirs has changed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import uuid4

import httpx

from infra.catalogue import openapi
from infra.catalogue.consistency import template
from shared.http.declaration import Caller
from shared.http.discovery import ROOT
from tests.security.route_cases import CASES, Case
from tests.security.tokens import FORGERIES, expired
from tests.support.backend import functions, functions_in_process
from tests.support.database import Database, DatabasePerson
from tests.support.stack import Stack

SERVED = "served"
REFUSED = "refused"
WAYS = ("gateway", "function")

_BAD = {
    "anonymous": "401 token_missing",
    "expired": "401 token_expired",
    **dict.fromkeys(FORGERIES, "401 token_invalid"),
    "ended sign-in": "401 sign_in_ended",
    "suspended": "401 person_inactive",
    "deleted": "401 person_inactive",
    "erased": "401 person_inactive",
}
_WITH_BAD_TOKEN = {"expired", *FORGERIES}
CALLERS = (*_BAD, "other", "administrator", "owner")
# A cell for all of those who were refused together: what of the owner's is different afterwards.
CHANGED = "what they changed"


@dataclass(frozen=True)
class Operation:
    """An operation of the OpenAPI document, with the way to call it."""

    method: str
    path: str
    caller: Caller
    keyed: bool
    case: Case | None

    @property
    def route(self) -> str:
        return f"{self.method} {self.path}"


def operations() -> list[Operation]:
    """All of the document's. `case` is None where one is missing."""
    document = openapi.document(ROOT, functions())
    return [
        _operation(method.upper(), path, described)
        for path, item in document["paths"].items()
        for method, described in item.items()
    ]


def _operation(method: str, path: str, described: Mapping[str, Any]) -> Operation:
    needs_case = "{" in path or described.get("requestBody", {}).get("required", False)
    keyed = any(parameter.get("$ref", "").endswith("IdempotencyKeyRequired") for parameter in described["parameters"])
    case = CASES.get(f"{method} {template(path)}", None if needs_case else Case())
    return Operation(method, path, Caller(described["x-caller"]), keyed, case)


@dataclass(frozen=True)
class Cell:
    """One attempt and what came of it."""

    route: str
    way: str
    caller: str
    expected: str
    found: str

    @property
    def held(self) -> bool:
        return self.found == self.expected

    def __str__(self) -> str:
        return f"{self.caller}, at the {self.way}: {self.route}: {self.found}, not {self.expected}"


def expected(operation: Operation, way: str, caller: str) -> str:
    """What must come of a call. Operations for everyone are `SERVED` whatever token comes along."""
    assert operation.case is not None
    right = str(operation.case.status or SERVED)
    if operation.caller is Caller.EVERYONE:
        return _BAD[caller] if operation.case.tells_people_apart and caller in _WITH_BAD_TOKEN else right
    if operation.caller not in {Caller.PERSON, Caller.ADMINISTRATOR}:
        return "404 not_found" if way == "gateway" else REFUSED
    if caller in operation.case.still_served:
        return SERVED
    if caller in _BAD:
        return _BAD[caller]
    if operation.caller is Caller.ADMINISTRATOR:
        return right if caller == "administrator" else "403 administrators_only"
    if caller != "owner" and operation.case.place is not None:
        return "404 not_found"
    return right


class Cast:
    """Somebody of each kind, made for one operation, since calling it may be the end of them.

    The owner is there from the beginning, the others from when one of them is asked for, or `everybody` is called.
    """

    def __init__(self, db: Database, operation: Operation) -> None:
        self.db, self._case = db, operation.case or Case()
        self.owner = db.person(full_name="Ada")
        self._leaving: dict[str, DatabasePerson] = {}
        self._places = {"owner": self._place(self.owner)}
        self._tokens = {"owner": self.owner.token}

    @cached_property
    def other(self) -> DatabasePerson:
        return self.db.person(full_name="Bob")

    def everybody(self) -> None:
        """Make those who are missing, and let those go who are no longer to be let in."""
        if self._leaving:
            return
        db, administrator = self.db, self.db.person(full_name="Grace")
        db.run("update public.users set is_admin = true where id = %s", administrator.id)
        self._leaving = {name: db.person() for name in ("suspended", "deleted", "erased")}
        self._places |= {name: self._place(person) for name, person in self._leaving.items()}
        for name in ("suspended", "deleted"):
            db.run("update public.users set status = %s where id = %s", name, self._leaving[name].id)
        db.run("delete from public.users where id = %s", self._leaving["erased"].id)
        ended = db.sign_in(self.owner.id, self.owner.email)
        ended.serve("end_sign_in")
        self._tokens |= {
            "other": self.other.token,
            "administrator": administrator.token,
            "ended sign-in": ended.token,
            "expired": expired(self.owner),
            **{name: forge(self.owner) for name, forge in FORGERIES.items()},
            **{name: person.token for name, person in self._leaving.items()},
        }

    def _place(self, person: DatabasePerson) -> tuple[str, ...]:
        return self._case.place(person) if self._case.place else self._case.fixed

    def place(self, caller: str) -> tuple[str, ...]:
        """What a caller's request names: their own where they are no longer let in, else the owner's."""
        return self._places.get(caller, self._places["owner"])

    def headers(self, caller: str) -> dict[str, str]:
        if caller == "anonymous":
            return {}
        if caller not in self._tokens:
            self.everybody()
        return {"Authorization": f"Bearer {self._tokens[caller]}"}

    def belongings(self, *, counted: bool = True) -> dict[str, str]:
        """A digest of everything in the database that is the owner's or one of those who are no longer let in.

        `counted`: also what they asked for and how much of it they may ask for still.
        """
        ids = [self.owner.id, *(person.id for person in self._leaving.values())]
        owned = [str(name) for (name,) in self.db.rows(_OWNED)]
        theirs = dict.fromkeys(owned, "user_id = any (%s::uuid[])") | {"users": "id = any (%s::uuid[])"}
        # Nor must anybody use up what somebody else may ask for.
        if counted:
            theirs["rate_limits"] = "split_part(key, ' ', 1) = 'person' and split_part(key, ' ', 2) = any (%s::text[])"
        else:
            del theirs["request_tallies"]
        queries = [
            f"select '{table}', {_DIGEST} from public.{table} t where {condition}"  # noqa: S608
            for table, condition in theirs.items()
        ]
        rows = self.db.rows(" union all ".join(queries), *[ids] * len(queries))
        return {str(table): str(digest) for table, digest in rows}

    def leaks(self, text: str) -> bool:
        """Whether an answer tells of the owner to somebody else."""
        return any(secret in text for secret in (self.owner.id, self.owner.email, *self.place("owner")))


_DIGEST = "coalesce(md5(string_agg(to_jsonb(t)::text, ',' order by to_jsonb(t)::text)), '')"
_OWNED = """
select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
where n.nspname = 'public' and c.relkind in ('r', 'p') and a.attname = 'user_id' and not a.attisdropped
"""


class Town:
    """A running local cloud, the functions in this process over the same database, and the people in it."""

    def __init__(self, stack: Stack, db: Database, clients: Mapping[str, httpx.AsyncClient]) -> None:
        self.stack, self.db, self._clients = stack, db, clients

    @property
    def gateway(self) -> httpx.AsyncClient:
        return self._clients["gateway"]

    @property
    def functions(self) -> httpx.AsyncClient:
        """Speaks to the functions themselves, in this process."""
        return self._clients["function"]

    async def send(self, operation: Operation, way: str, cast: Cast, caller: str) -> httpx.Response:
        case = operation.case or Case()
        if case.body:
            content, media_type = json.dumps(case.body()).encode(), "application/json"
        else:
            content, media_type = case.recorded() if case.recorded else (b"", "")
        return await self.send_content(operation, way, cast, caller, content, media_type)

    async def send_content(
        self,
        operation: Operation,
        way: str,
        cast: Cast,
        caller: str,
        content: bytes | AsyncIterator[bytes],
        media_type: str,
        more: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Call an operation with any body; `more` are further headers."""
        places = iter(cast.place(caller))
        address = "/".join(next(places) if part.startswith("{") else part for part in operation.path.split("/"))
        headers = cast.headers(caller) | {"X-Forwarded-For": self.stack.new_address()} | dict(more or {})
        if operation.keyed:
            headers["Idempotency-Key"] = str(uuid4())
        if media_type:
            headers["Content-Type"] = media_type
        query = operation.case.query if operation.case else {}
        return await self._clients[way].request(
            operation.method, address, params=query, headers=headers, content=content, follow_redirects=False
        )


@asynccontextmanager
async def town_of(stack: Stack) -> AsyncIterator[Town]:
    """The functions in this process have the environment that those behind the gateway have."""
    async with AsyncExitStack() as opened:
        _, straight = await opened.enter_async_context(functions_in_process(stack.function_environment()))
        gateway = await opened.enter_async_context(
            httpx.AsyncClient(base_url=stack.base_url, timeout=30, trust_env=False)
        )
        db = opened.enter_context(stack.database())
        yield Town(stack, db, {"gateway": gateway, "function": straight})


async def run(town: Town, operation: Operation, way: str) -> list[Cell]:
    """Call an operation as everybody. Whoever is refused must have changed nothing, which is a cell of its own."""
    cast = Cast(town.db, operation)
    cast.everybody()
    # Where only administrators are served, the owner is one of those who are refused, and is counted as who asked.
    counted = operation.caller is not Caller.ADMINISTRATOR
    before = cast.belongings(counted=counted)
    # The one who is served comes last: it may be the end of what the path names.
    last = "administrator" if operation.caller is Caller.ADMINISTRATOR else "owner"
    strangers = [caller for caller in CALLERS if caller != last]
    answers = await asyncio.gather(*(town.send(operation, way, cast, caller) for caller in strangers))
    changed = "nothing" if cast.belongings(counted=counted) == before else "something"
    served = await town.send(operation, way, cast, last)
    cells = [
        Cell(
            operation.route,
            way,
            caller,
            expected(operation, way, caller),
            _found(operation, cast, way, caller, answer, answers[0]),
        )
        for caller, answer in zip([*strangers, last], [*answers, served], strict=True)
    ]
    return [*cells, Cell(operation.route, way, CHANGED, "nothing", changed)]


def _found(
    operation: Operation, cast: Cast, way: str, caller: str, answer: httpx.Response, without_token: httpx.Response
) -> str:
    """A word for an answer, and what is wrong with it beside its status."""
    wanted = expected(operation, way, caller)
    found = _word(answer, wanted)
    # An administrator is told of the person whom they asked about.
    may_know = caller == "owner" or operation.caller is Caller.ADMINISTRATOR
    if not may_know and cast.leaks(_content(answer)):
        found += ", and tells of the owner"
    alike = wanted == expected(operation, way, "anonymous")
    if operation.caller is Caller.EVERYONE and alike and _shape(answer) != _shape(without_token):
        found += ", otherwise than without a token"
    return found


def _content(answer: httpx.Response) -> str:
    """The answer's text, without the path of the request that a problem document repeats."""
    if "problem+json" in answer.headers.get("content-type", ""):
        return json.dumps(answer.json() | {"instance": None})
    return answer.text


def _word(answer: httpx.Response, wanted: str) -> str:
    if answer.is_success or answer.is_redirect:
        return SERVED
    if str(answer.status_code) == wanted:
        return wanted
    if wanted == REFUSED and answer.status_code in {401, 403}:
        return REFUSED
    code = answer.json().get("code") if "json" in answer.headers.get("content-type", "") else answer.text[:100]
    return f"{answer.status_code} {code}"


def _shape(answer: httpx.Response) -> tuple[Any, ...]:
    """What an answer looks like, whatever values it has."""
    kind = answer.headers.get("content-type", "")
    return answer.status_code, kind, _form(answer.json()) if "json" in kind else None


def _form(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: value[name] if name == "code" else _form(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_form(item) for item in value[:1]]
    return type(value).__name__
