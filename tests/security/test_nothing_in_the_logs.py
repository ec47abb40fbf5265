"""What people send, what providers say, and what secrets there are never stands in any process' log.

Every route of the interface is driven with marked strings in every place that a string can be in: fields, query,
path, headers, whole bodies, files, the words of providers, and the errors of everything that we stand on. The mark is
then looked for in the log of every process. The level is DEBUG: what is written at a higher one is written then too.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql

from local.database.cluster import Cluster
from tests.support.recordings import recording, silence
from tests.support.stack import Stack, StackPerson, stack_folder

MARK = "canary7f3a"
HEARD = f"The {MARK} sings."
ADDRESS = "203.0.113.177"
# These run as the platform runs a function, so that the framework's own log is looked at too.
ALONE = "operations-contact voice-speech"
PASSWORD = f"{MARK}-correct-horse"
# Whoever asks for one of these is signed out afterwards, so a person of their own does.
ENDINGS = {("POST", "/v1/auth/logout"), ("POST", "/v1/auth/logout-all"), ("DELETE", "/v1/users/me")}
FAULTS: Sequence[Mapping[str, Any]] = [
    {"supabase": {"*": {"status": 400, "says": f"{MARK} in the database"}}},
    {"supabase": {"*": {"status": 503, "says": f"{MARK} in the database"}}},
    {"supabase": {name: {"status": 500, "says": MARK} for name in ("close_turn", "end_call", "take_outbox")}},
    {
        "agent": {"*": {"status": 500, "says": f"{MARK} in the agent"}},
        "speech": {"*": {"status": "INTERNAL", "says": f"{MARK} in hearing"}},
        "texttospeech": {"*": {"status": "INTERNAL", "says": f"{MARK} in speaking"}},
        "smtp": {"DATA": {"status": 550, "says": f"{MARK} in the mail server"}},
    },
    {
        "agent": {"streamQuery.after": {"status": 503, "says": f"{MARK} in the agent"}},
        "speech": {"*": {"status": "INVALID_ARGUMENT", "says": f"{MARK} in hearing"}},
        "texttospeech": {"*": {"status": "UNAVAILABLE", "says": f"{MARK} in speaking"}},
        "smtp": {"DATA": {"lose_answer": True}},
    },
]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    environment = {"LOG_LEVEL": "DEBUG", "SCRIPTED_TRANSCRIPT": HEARD, "PROCESSES": ALONE}
    with stack_folder() as folder, Stack(folder, environment=environment) as running:
        yield running


def logs(stack: Stack) -> dict[str, str]:
    """Everything that any process has written for people to read, by file."""
    places = stack.places
    files = [stack.output, *places.logs.glob("*"), *Path(places.database_folder).rglob("*.log")]
    return {str(file): file.read_text(errors="replace") for file in files if file.is_file()}


def leaks(stack: Stack, marks: Mapping[str, str]) -> list[str]:
    """Where one of the marks stands, with the line."""
    return [
        f"{name} in {file}: {line[:300]}"
        for file, text in logs(stack).items()
        for line in text.splitlines()
        for name, mark in marks.items()
        if mark.lower() in line.lower()
    ]


class Sender:
    """Sends marked requests, as nobody and as a person."""

    def __init__(self, stack: Stack, client: httpx.AsyncClient, person: StackPerson) -> None:
        self._stack, self._client, self._person = stack, client, person
        self._numbers = itertools.count()

    def mark(self) -> str:
        return f"{MARK}-{next(self._numbers)}"

    def headers(self, token: str | None) -> dict[str, str]:
        mark = self.mark()
        return {
            "User-Agent": f"{mark} agent",
            "Referer": f"https://{mark}.test/{mark}",
            "Cookie": f"session={mark}",
            "Accept-Language": mark,
            "Idempotency-Key": mark,
            "X-Request-Id": f"not plain {mark}",
            "traceparent": f"00-{mark}",
            "Origin": f"https://{mark}.test",
            "Last-Event-ID": mark,
            # The left one is the caller's own invention, the right one what our proxy saw.
            "X-Forwarded-For": f"{ADDRESS}, {self._stack.new_address()}",
            "Authorization": f"Bearer {token or mark}",
        }

    async def send(self, method: str, path: str, *, token: str | None, **options: Any) -> httpx.Response:
        headers = self.headers(token) | options.pop("headers", {})
        return await self._client.request(method, path, headers=headers, **options)

    async def drive(self, path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> None:
        """One operation in every way that its description allows, and in some that it does not."""
        place = self.filled(path)
        query = {
            parameter["name"]: self.mark() for parameter in operation["parameters"] if parameter.get("in") == "query"
        }
        content = operation.get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema")
        bodies: list[dict[str, Any]] = [{"content": f'{{"x": "{self.mark()}'.encode()}, {"json": self.mark()}]
        if schema:
            bodies.append({"json": self.example(schema, schemas)})
            bodies.append({"json": self.example(schema, schemas) | {self.mark(): self.mark()}})
        if any(kind.startswith("audio/") for kind in content):
            bodies.append({"files": {"audio": (f"{self.mark()}.wav", silence(0.5), "audio/wav")}})
            bodies.append({"content": self.mark().encode(), "headers": {"Content-Type": f"audio/wav; x={self.mark()}"}})
        for token in (None, self._person.access_token):
            for body in bodies if method != "GET" else [{}]:
                asked = {**body, "headers": {**body.get("headers", {})}}
                if "content" in body and not asked["headers"]:
                    asked["headers"] = {"Content-Type": "application/json"}
                await self.send(method, place, token=token, **asked)
            await self.send(method, place, token=token, params=query)
        await self.send("BREW", place, token=None)
        await self.send(method, place + f"/{self.mark()}", token=None)

    def filled(self, path: str) -> str:
        return "/".join(self.mark() if part.startswith("{") else part for part in path.split("/"))

    def example(self, schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
        """A value of a schema with the mark in each of its strings, an address where one is wanted."""
        if "$ref" in schema:
            return self.example(schemas[schema["$ref"].rpartition("/")[2]], schemas)
        if "anyOf" in schema:
            return self.example(schema["anyOf"][0], schemas)
        if schema.get("type") == "object":
            made = {name: self.example(inner, schemas) for name, inner in schema.get("properties", {}).items()}
            return made | ({"email": f"{self.mark()}@oprina.test"} if "email" in made else {})
        if schema.get("type") in {"integer", "number"}:
            return 0
        return self.mark()


async def converse(sender: Sender, stack: Stack, person: StackPerson) -> list[httpx.Response]:
    """What people do all day, every word of it marked."""
    token, mark = person.access_token, sender.mark()
    clip, kind = recording("wav", 1.0)
    audio = {"Content-Type": kind}
    stranger = {"email": f"{sender.mark()}@oprina.test"}
    speech, message = {"text": f"Hello {mark}.", "audio_format": "pcm"}, {"subject": mark, "message": mark}
    newcomer = {"password": PASSWORD, "full_name": mark}
    answers = [
        await sender.send("POST", "/v1/sessions", token=token, json={"title": f"About {mark}"}),
        await sender.send("GET", "/v1/sessions", token=token, params={"q": mark}),
        await sender.send("PATCH", "/v1/users/me", token=token, json={"full_name": mark, "ai_preferences": mark}),
        await sender.send("POST", "/v1/voice/speech", token=token, json=speech),
        await sender.send("POST", "/v1/voice/transcriptions", token=token, content=clip, headers=audio),
        await sender.send("POST", "/v1/contact", token=token, json=stranger | message),
        await sender.send("POST", "/v1/auth/register", token=None, json=stranger | newcomer),
        await sender.send("POST", "/v1/auth/login", token=None, json={"email": person.email, "password": PASSWORD}),
        await sender.send("POST", "/v1/auth/refresh", token=None, json={"refresh_token": mark}),
        await sender.send("GET", "/v1/health", token=None),
    ]  # fmt: skip
    if answers[0].status_code == 201:
        place = f"/v1/sessions/{answers[0].json()['id']}/turns"
        asked = {"text": f"Tell me of {mark} [[say It is {mark}. There is more.]] [[fail after 40]]"}
        streamed = {"Accept": "text/event-stream"}
        answers += [
            await sender.send("POST", place, token=token, json=asked),
            await sender.send("POST", place, token=token, json=asked, headers=streamed),
            await sender.send("POST", place, token=token, content=clip, headers=audio | streamed),
        ]
    return answers


async def test_nothing_of_what_anybody_sends_or_says_reaches_a_log(stack: Stack) -> None:
    person = await asyncio.to_thread(stack.person, f"{MARK}.person@oprina.test", full_name=f"Ada {MARK}")
    async with httpx.AsyncClient(base_url=stack.base_url, timeout=30, trust_env=False) as client:
        sender = Sender(stack, client, person)
        document = (await client.get("/openapi.json")).json()
        schemas = document["components"]["schemas"]
        for path, item in document["paths"].items():
            for method, operation in item.items():
                leaver = await asyncio.to_thread(stack.person) if (method.upper(), path) in ENDINGS else person
                await Sender(stack, client, leaver).drive(path, method.upper(), operation, schemas)
        served = await converse(sender, stack, person)
        assert [answer.status_code for answer in served[:6]] == [201, 200, 200, 200, 200, 201]
        for faults in FAULTS:
            await asyncio.to_thread(stack.set_faults, faults)
            failed = await converse(sender, stack, person)
            assert all(answer.status_code for answer in failed)
        await asyncio.to_thread(stack.set_faults, {})
    text = "".join(logs(stack).values())
    assert text.count("request served") > 150, "nothing is found where nothing is written"
    marks = {"what was sent": MARK, "an address": ADDRESS}
    marks |= {
        "a token": person.access_token[-40:],
        "a refresh token": person.refresh_token,
        "a password": person.password,
    }
    assert leaks(stack, marks | secrets(stack)) == []


def secrets(stack: Stack) -> dict[str, str]:
    """Every secret that the functions are given."""
    kept: dict[str, str] = json.loads(stack.places.environment_file.read_text())
    private = json.loads(kept["ACCESS_TOKEN_KEYRING"])["keys"][0]["d"]
    plain = {
        name: value for name, value in kept.items() if name not in {"ACCESS_TOKEN_KEYRING", "SUPABASE_PUBLISHABLE_KEY"}
    }
    return {name: value for name, value in plain.items() if isinstance(value, str)} | {"ACCESS_TOKEN_KEYRING": private}


async def test_an_error_of_the_database_with_somebodys_words_in_it_reaches_no_log(stack: Stack) -> None:
    """Really of PostgreSQL: a rule that rows of ours break, so that its message quotes them."""
    person = await asyncio.to_thread(stack.person)
    cluster = Cluster(stack.places.database_folder, stack.places.postgres_port)
    with psycopg.connect(cluster.administrator_url, autocommit=True) as connection:
        connection.execute(
            "create function public.complain() returns trigger language plpgsql as"
            " $$ begin raise exception 'not this: %', new; end $$"
        )
        for table in ("sessions", "turns", "messages", "contact_cases", "usage_events", "outbox"):
            connection.execute(
                sql.SQL(
                    "create trigger complain before insert on public.{} for each row execute function public.complain()"
                ).format(sql.Identifier(table))
            )
        try:
            async with httpx.AsyncClient(base_url=stack.base_url, timeout=30, trust_env=False) as client:
                answers = await converse(Sender(stack, client, person), stack, person)
            assert answers[0].status_code == 503
            assert MARK not in answers[0].text
        finally:
            connection.execute("drop function public.complain() cascade")
    ours = {file: text for file, text in logs(stack).items() if not file.endswith(("postgres.log", "postgresql.log"))}
    assert [line[:300] for text in ours.values() for line in text.splitlines() if MARK in line.lower()] == []


def test_the_search_would_find_a_mark(stack: Stack) -> None:
    """A process that did write one would be noticed."""
    file = stack.places.logs / "careless.log"
    file.write_text(f"the person said: {MARK.upper()}\n")
    found = leaks(stack, {"what was sent": MARK})
    file.unlink()
    assert f"what was sent in {file}" in [line.partition(":")[0] for line in found]
