"""An administrator sees every dependency, and no dependency can keep the answer from coming."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import jwt
import pytest
from google.cloud.speech_v2 import ListRecognizersRequest, SpeechAsyncClient
from google.cloud.speech_v2.services.speech.transports import SpeechGrpcAsyncIOTransport
from starlette.responses import JSONResponse

from local.faults import FaultBook
from local.mail import Mailbox, serve_mail
from local.speech.hearing import ScriptedEar
from local.speech.server import Engines, speech_server
from local.speech.speaking import ScriptedMouth
from shared.clients import mail
from shared.operations import checks
from shared.operations.checks import Check
from shared.runtime.errors import Unavailable
from shared.runtime.settings import load
from tests.support.backend import Backend, Person, open_backend
from tests.support.database import Database, throwaway_database
from tests.support.gateway import free_socket, served
from tests.support.talk import assert_problem

PARTS = {"database", "agent", "speech", "texttospeech", "mail", "keys", "settings"}
# Far longer than any part may take; whoever waits longer hangs.
PATIENCE_SECONDS = 20.0
RESOURCE = "projects/oprina-local/locations/us-central1/reasoningEngines/1"
NEVER_RESOLVES = "never-resolves.test"


class Silent:
    """Takes connections and never says a word."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._taken: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                self._taken.append(self._socket.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for one in self._taken:
            one.close()


async def an_agent(scope: Any, receive: Any, send: Any) -> None:
    """Agent Runtime as far as its resource is asked for."""
    await JSONResponse({"name": RESOURCE})(scope, receive, send)


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> FaultBook:
    return FaultBook(tmp_path_factory.mktemp("faults") / "faults.json")


@pytest.fixture(scope="module")
def database(faults: FaultBook) -> Iterator[Database]:
    with throwaway_database(faults=faults) as opened:
        yield opened


@pytest.fixture(scope="module")
async def backend(
    database: Database, faults: FaultBook, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Backend]:
    folder: Path = tmp_path_factory.mktemp("public")
    speech = speech_server(Engines(ScriptedEar(0, None, {}), ScriptedMouth(0)), faults)
    async with AsyncExitStack() as stack:
        speech_port = await speech.start()
        stack.push_async_callback(speech.stop, 0)
        agent = await stack.enter_async_context(served(an_agent, free_socket()))
        environment = {
            "SPEECH_ENDPOINT": f"http://127.0.0.1:{speech_port}",
            "SPEECH_RECOGNIZER": "projects/oprina-local/locations/us/recognizers/_",
            "TEXTTOSPEECH_ENDPOINT": f"http://127.0.0.1:{speech_port}",
            "AGENT_ENDPOINT": agent,
            "AGENT_RESOURCE": RESOURCE,
        }
        yield await stack.enter_async_context(open_backend(database.environment, folder, environment))


@pytest.fixture
async def administrator(backend: Backend, database: Database) -> Person:
    person = await backend.register_person()
    database.call("set_administrator", p_email=person.email, p_administrator=True)
    return person


@pytest.fixture(autouse=True)
def nothing_remembered(faults: FaultBook) -> Iterator[None]:
    yield
    faults.write({})
    checks._watches.clear()
    load.cache_clear()


async def ask(backend: Backend, person: Person) -> httpx.Response:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await backend.client.get("/v1/health/detailed", headers=person.headers)


async def parts(backend: Backend, person: Person) -> dict[str, Any]:
    answer = await ask(backend, person)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["parts"]
    return found


def set_endpoint(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    load.cache_clear()


async def test_every_dependency_is_told_with_its_latency(backend: Backend, administrator: Person) -> None:
    answer = await ask(backend, administrator)
    document = answer.json()
    assert document["status"] == "ok", document
    assert set(document["parts"]) == PARTS
    assert all(part["latency_ms"] >= 0 and part["detail"] is None for part in document["parts"].values())


async def test_it_is_for_administrators(backend: Backend) -> None:
    assert_problem(await backend.client.get("/v1/health/detailed"), 401, "token_missing")
    person = await backend.register_person()
    assert_problem(await ask(backend, person), 403, "administrators_only")


async def test_whoever_is_no_longer_an_administrator_is_refused_at_once(
    backend: Backend, administrator: Person, database: Database
) -> None:
    database.call("set_administrator", p_email=administrator.email, p_administrator=False)
    assert_problem(await ask(backend, administrator), 403, "administrators_only")


@pytest.mark.parametrize(
    ("stand_in", "method", "part"),
    [
        ("supabase", "ping", "database"),
        ("speech", "ListRecognizers", "speech"),
        ("texttospeech", "ListVoices", "texttospeech"),
    ],
)
async def test_the_worst_part_decides_the_whole_and_says_what_is_wrong(
    backend: Backend, administrator: Person, faults: FaultBook, stand_in: str, method: str, part: str
) -> None:
    faults.write({stand_in: {method: {"fail_rate": 1}}})
    document = (await ask(backend, administrator)).json()
    assert document["status"] == "unavailable"
    ailing = {name for name, found in document["parts"].items() if found["status"] != "ok"}
    assert ailing == {part}
    assert document["parts"][part]["detail"]


@pytest.mark.parametrize("how", ["speaks never", "answers late", "is not there"])
async def test_no_dependency_keeps_the_answer_waiting(
    backend: Backend, administrator: Person, faults: FaultBook, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    with ExitStack() as stack:
        if how == "answers late":
            late = {"delay_ms": 6_000}
            faults.write(
                {"supabase": {"ping": late}, "speech": {"ListRecognizers": late}, "texttospeech": {"ListVoices": late}}
            )
            slow = {"database", "speech", "texttospeech"}
        else:
            silent = Silent()
            stack.callback(silent.close) if how == "speaks never" else silent.close()
            monkeypatch.setenv("AGENT_ENDPOINT", f"http://{silent.address}")
            monkeypatch.setenv("JWKS_URL", f"http://{silent.address}/jwks.json")
            set_endpoint(monkeypatch, "SMTP_URL", f"smtp://{silent.address}")
            slow = {"agent", "keys", "mail"}
            # Tokens are checked with the keys that were fetched before.
            known = jwt.PyJWKClient(backend.environment["JWKS_URL"])
            monkeypatch.setattr("shared.clients.jwks._keys", lambda _: known)
        found = await parts(backend, administrator)
    assert {name for name, part in found.items() if part["status"] == "unavailable"} == slow
    assert {part["status"] for name, part in found.items() if name not in slow} == {"ok"}


async def test_a_grpc_server_that_takes_the_connection_and_never_answers_is_unavailable() -> None:
    silent = Silent()
    async with grpc.aio.insecure_channel(silent.address) as channel:
        client = SpeechAsyncClient(transport=SpeechGrpcAsyncIOTransport(channel=channel))

        async def run() -> None:
            await client.list_recognizers(request=ListRecognizersRequest(parent="projects/p/locations/us"), timeout=600)

        async with asyncio.timeout(PATIENCE_SECONDS):
            found = await checks.look([Check("silent", run, timeout_seconds=0.5), Check("well", _well)])
    silent.close()
    assert found.parts["silent"].status == "unavailable"
    assert found.parts["well"].status == "ok"


async def _well() -> None: ...


async def test_a_name_that_never_resolves_takes_nothing_from_the_others_however_often_it_is_asked(
    backend: Backend, administrator: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, let_go, real = [], threading.Event(), socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **named: Any) -> Any:
        if host in {NEVER_RESOLVES, NEVER_RESOLVES.encode()}:
            asked.append(host)
            let_go.wait(60)
            raise socket.gaierror("no such name")
        return real(host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    set_endpoint(monkeypatch, "AGENT_ENDPOINT", f"http://{NEVER_RESOLVES}:1")
    try:
        for _ in range(8):
            found = await parts(backend, administrator)
            assert {name for name, part in found.items() if part["status"] != "ok"} == {"agent"}
        assert "in time" in found["agent"]["detail"]
        assert len(asked) == 1, "each would hold one more thread"
    finally:
        let_go.set()


async def test_a_check_that_does_not_even_end_when_it_is_told_to_holds_nobody_up() -> None:
    ended = asyncio.Event()

    async def stubborn() -> None:
        while not ended.is_set():
            try:
                await ended.wait()
            except asyncio.CancelledError:
                continue

    async with asyncio.timeout(PATIENCE_SECONDS):
        found = await checks.look([Check("stubborn", stubborn, timeout_seconds=0.2), Check("well", _well)])
    ended.set()
    assert (found.status, found.parts["well"].status) == ("unavailable", "ok")


async def test_a_check_that_fails_for_a_reason_nobody_foresaw_fails_alone_and_tells_nothing() -> None:
    async def broken() -> None:
        raise RuntimeError("postgres://app:hunter2@10.0.0.7")

    async def away() -> None:
        raise Unavailable("It is being painted.")

    found = await checks.look([Check("broken", broken), Check("away", away), Check("well", _well)])
    assert "hunter2" not in found.model_dump_json()
    assert found.parts["away"].detail == "It is being painted."
    assert found.parts["well"].status == "ok"


async def test_a_secret_that_is_blank_or_missing_is_named_and_its_value_is_not(
    backend: Backend, administrator: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_endpoint(monkeypatch, "SMTP_URL", "   ")
    found = await parts(backend, administrator)
    assert "SMTP_URL is blank" in found["settings"]["detail"]
    monkeypatch.delenv("SMTP_URL")
    load.cache_clear()
    found = await parts(backend, administrator)
    assert "SMTP_URL is missing" in found["settings"]["detail"]


async def test_keys_that_are_none_are_noticed_although_tokens_are_still_checked_with_the_old_ones(
    backend: Backend, administrator: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_endpoint(monkeypatch, "JWKS_URL", backend.environment["JWKS_URL"] + "?gone")
    assert (await parts(backend, administrator))["keys"]["status"] == "ok"

    async def nothing(url: str, *, fresh: bool = False) -> bytes:
        return b'{"keys": []}'

    monkeypatch.setattr("shared.clients.public_objects.fetch", nothing)
    assert (await parts(backend, administrator))["keys"]["detail"] == "The public keys cannot be read."


async def test_without_the_database_nobody_is_an_administrator(
    backend: Backend, administrator: Person, faults: FaultBook
) -> None:
    faults.write({"supabase": {"enter_only": {"status": 503}}})
    answer = await ask(backend, administrator)
    assert answer.status_code == 503
    assert "parts" not in answer.json()


async def test_a_mail_server_is_greeted_and_sent_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = Mailbox(tmp_path / "mail.sqlite3")
    server = await serve_mail(0, mailbox, FaultBook(tmp_path / "faults.json"))
    monkeypatch.setenv("MAIL_FROM", "Oprina <hello@oprina.test>")
    set_endpoint(monkeypatch, "SMTP_URL", f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await mail.check()
    server.close()
    await server.wait_closed()
    assert mailbox.read() == []
    with pytest.raises(Unavailable):
        await mail.check()
