"""Whom the kit takes for the queue or the scheduler: nobody without a token of Google's for this very service."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from local.google_identity import JWKS_OBJECT, GoogleIdentity
from local.public_objects import public_objects
from shared.clients import jwks
from shared.http.callers import FromQueue, FromScheduler
from shared.http.declaration import Caller, Function, Queue, Schedule
from shared.runtime.errors import ConfigurationError
from shared.runtime.services import ServiceSettings, root_of
from shared.runtime.settings import load, read
from tests.support import kit
from tests.support.gateway import free_socket, served

ROOT = "https://{service}-123.us-central1.run.app"
AUDIENCE = "https://kit-worker-123.us-central1.run.app"
TASKS, SCHEDULER = "tasks@p.iam.gserviceaccount.com", "scheduler@p.iam.gserviceaccount.com"
FROM_QUEUE = {
    "X-CloudTasks-QueueName": "q",
    "X-CloudTasks-TaskName": "t",
    "X-CloudTasks-TaskRetryCount": "3",
}
FROM_SCHEDULER = {"X-CloudScheduler-JobName": "j", "X-CloudScheduler-ScheduleTime": "2026-11-25T08:00:00Z"}

worker = Function(name="kit-worker", path="/tasks/step")
chore = Function(name="kit-chore", path="/schedules/chore")


@worker.post("Work", caller=Caller.QUEUE, queue=Queue("q"))
async def work(delivery: FromQueue) -> dict[str, Any]:
    return vars(delivery)


@chore.post("Tidy up", caller=Caller.SCHEDULER, schedule=Schedule("* * * * *"))
async def tidy(tick: FromScheduler) -> dict[str, Any]:
    return {**vars(tick), "message_id": tick.message_id}


@pytest.fixture(scope="module")
async def identity(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[GoogleIdentity, str]]:
    folder: Path = tmp_path_factory.mktemp("google")
    google = GoogleIdentity(folder / "key.pem")
    google.publish(folder)
    async with served(public_objects(folder), free_socket()) as url:
        yield google, f"{url}/{JWKS_OBJECT}"


@pytest.fixture
async def client(
    kit_environment: pytest.MonkeyPatch, identity: tuple[GoogleIdentity, str]
) -> AsyncIterator[httpx.AsyncClient]:
    kit_environment.setenv("SERVICE_ROOT", ROOT)
    kit_environment.setenv("TASKS_SERVICE_ACCOUNT", TASKS)
    kit_environment.setenv("SCHEDULER_SERVICE_ACCOUNT", SCHEDULER)
    kit_environment.setenv("GOOGLE_CERTS_URL", identity[1])
    async with kit.client(worker) as client:
        yield client


async def deliver(client: httpx.AsyncClient, token: str | None, **headers: str) -> httpx.Response:
    sent = FROM_QUEUE | headers | ({} if token is None else {"Authorization": f"Bearer {token}"})
    return await client.post("/tasks/step", headers=sent)


def refused(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert ("www-authenticate" in answer.headers) == (status == 401)


def forged(
    google: GoogleIdentity, key: Any = None, kid: str | None = None, algorithm: str = "RS256", **changes: Any
) -> str:
    """A token as Google signs them, but for what is changed of it; None leaves a claim out."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": "https://accounts.google.com", "aud": AUDIENCE, "sub": "1", "azp": "1", "email": TASKS,
        "email_verified": True, "iat": now, "exp": now + 3600,
    }  # fmt: skip
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    signing = key if key is not None else google._key
    return jwt.encode(claims, signing, "RS256", headers={"kid": kid or google.key_id})


async def test_the_queues_own_token_opens_its_worker(
    client: httpx.AsyncClient, identity: tuple[GoogleIdentity, str]
) -> None:
    answer = await deliver(client, identity[0].id_token(TASKS, AUDIENCE))
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"queue": "q", "task": "t", "retries": 3}


async def test_the_schedulers_own_token_opens_a_chore(
    client: httpx.AsyncClient, identity: tuple[GoogleIdentity, str]
) -> None:
    token = identity[0].id_token(SCHEDULER, "https://kit-chore-123.us-central1.run.app")
    async with kit.client(chore) as other:
        headers = FROM_SCHEDULER | {"Authorization": f"Bearer {token}"}
        answer = await other.post("/schedules/chore", headers=headers)
        assert answer.json()["message_id"] == "j@2026-11-25T08:00:00Z"
        for name in FROM_SCHEDULER:
            incomplete = {key: value for key, value in headers.items() if key != name}
            refused(await other.post("/schedules/chore", headers=incomplete), 400, "delivery_header_missing")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc"])
async def test_without_a_token_nothing_opens(client: httpx.AsyncClient, header: str | None) -> None:
    headers = FROM_QUEUE | ({} if header is None else {"Authorization": header})
    refused(await client.post("/tasks/step", headers=headers), 401, "token_missing")


async def test_a_handler_that_does_not_ask_who_calls_is_as_closed_as_the_others(
    client: httpx.AsyncClient, identity: tuple[GoogleIdentity, str]
) -> None:
    careless = Function(name="kit-careless", path="/tasks/step")

    @careless.post("Work", caller=Caller.QUEUE, queue=Queue("q"))
    async def work() -> dict[str, bool]:
        return {"done": True}

    async with kit.client(careless) as other:
        refused(await deliver(other, None), 401, "token_missing")
        refused(await deliver(other, identity[0].id_token(TASKS, AUDIENCE)), 401, "token_invalid")
        own = "https://kit-careless-123.us-central1.run.app"
        refused(await deliver(other, identity[0].id_token(SCHEDULER, own)), 403, "wrong_service_account")
        assert (await deliver(other, identity[0].id_token(TASKS, own))).json() == {"done": True}


async def test_a_token_in_another_header_is_no_token(
    client: httpx.AsyncClient, identity: tuple[GoogleIdentity, str]
) -> None:
    token = identity[0].id_token(TASKS, AUDIENCE)
    for name in ("X-Serverless-Authorization", "X-Forwarded-Authorization"):
        refused(await deliver(client, None, **{name: f"Bearer {token}"}), 401, "token_missing")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"exp": 1}, 401, "token_expired"),
        ({"iat": 4_000_000_000}, 401, "token_invalid"),
        ({"iss": "https://accounts.evil.test"}, 401, "token_invalid"),
        ({"aud": "https://kit-other-123.us-central1.run.app"}, 401, "token_invalid"),
        ({"aud": AUDIENCE + "/"}, 401, "token_invalid"),
        ({"aud": None}, 401, "token_invalid"),
        ({"email": None}, 401, "token_invalid"),
        ({"email_verified": None}, 401, "token_invalid"),
        ({"exp": None}, 401, "token_invalid"),
        ({"email": SCHEDULER}, 403, "wrong_service_account"),
        ({"email": "tasks@p.iam.gserviceaccount.com.evil.test"}, 403, "wrong_service_account"),
        ({"email_verified": False}, 403, "wrong_service_account"),
        ({"email_verified": "true"}, 403, "wrong_service_account"),
        ({"kid": "unknown"}, 401, "token_invalid"),
    ],
    ids=str,
)
async def test_a_token_that_says_something_else_is_refused(
    client: httpx.AsyncClient, identity: tuple[GoogleIdentity, str], changes: dict[str, Any], status: int, code: str
) -> None:
    refused(await deliver(client, forged(identity[0], **changes)), status, code)


@pytest.mark.parametrize("issuer", ["https://accounts.google.com", "accounts.google.com"])
async def test_both_of_googles_names_are_known(
    client: httpx.AsyncClient, identity: tuple[GoogleIdentity, str], issuer: str
) -> None:
    assert (await deliver(client, forged(identity[0], iss=issuer))).status_code == 200


async def test_a_key_of_ones_own_opens_nothing(client: httpx.AsyncClient, identity: tuple[GoogleIdentity, str]) -> None:
    own = rsa.generate_private_key(65_537, 2048)
    refused(await deliver(client, forged(identity[0], own)), 401, "token_invalid")


async def test_the_public_key_is_no_secret_to_sign_with(
    client: httpx.AsyncClient, identity: tuple[GoogleIdentity, str]
) -> None:
    google = identity[0]
    public = google._key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _, payload, _ = forged(google).split(".")
    header = part({"alg": "HS256", "typ": "JWT", "kid": google.key_id})
    signature = hmac.new(public, f"{header}.{payload}".encode(), hashlib.sha256).digest()
    refused(await deliver(client, f"{header}.{payload}.{encoded(signature)}"), 401, "token_invalid")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE"])
async def test_a_token_without_a_signature_opens_nothing(
    client: httpx.AsyncClient, identity: tuple[GoogleIdentity, str], algorithm: str
) -> None:
    _, payload, _ = forged(identity[0]).split(".")
    header = part({"alg": algorithm, "kid": identity[0].key_id})
    refused(await deliver(client, f"{header}.{payload}."), 401, "token_invalid")


@pytest.mark.parametrize("token", ["x", "a.b.c", "....", "\u00e9".encode().hex(), "." * 50])
async def test_what_is_no_token_is_refused(client: httpx.AsyncClient, token: str) -> None:
    refused(await deliver(client, token), 401, "token_invalid")


async def test_a_changed_token_is_refused(client: httpx.AsyncClient, identity: tuple[GoogleIdentity, str]) -> None:
    header, payload, signature = forged(identity[0]).split(".")
    other = forged(identity[0], sub="2").split(".")[1]
    assert payload != other
    refused(await deliver(client, f"{header}.{other}.{signature}"), 401, "token_invalid")


def part(content: dict[str, Any]) -> str:
    return encoded(json.dumps(content).encode())


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


# --- behind the platform's own check


def without_signature(token: str) -> str:
    return token.rpartition(".")[0] + ".SIGNATURE_REMOVED_BY_GOOGLE"


async def test_a_removed_signature_opens_nothing_where_the_platform_checks_nobody(
    client: httpx.AsyncClient, identity: tuple[GoogleIdentity, str]
) -> None:
    refused(await deliver(client, without_signature(forged(identity[0]))), 401, "token_invalid")


async def test_behind_the_platforms_check_everything_but_the_signature_is_still_demanded(
    client: httpx.AsyncClient, identity: tuple[GoogleIdentity, str], kit_environment: pytest.MonkeyPatch
) -> None:
    kit_environment.setenv("PLATFORM_CHECKS_CALLERS", "true")
    load.cache_clear()
    google = identity[0]
    assert (await deliver(client, without_signature(forged(google)))).status_code == 200
    refused(await deliver(client, without_signature(forged(google, email=SCHEDULER))), 403, "wrong_service_account")
    refused(await deliver(client, without_signature(forged(google, exp=1))), 401, "token_expired")
    for wrong in ({"aud": "https://elsewhere.test"}, {"iss": "https://evil.test"}, {"iat": 4_000_000_000}):
        refused(await deliver(client, without_signature(forged(google, **wrong))), 401, "token_invalid")
    own = rsa.generate_private_key(65_537, 2048)
    refused(await deliver(client, forged(google, own)), 401, "token_invalid")
    refused(await deliver(client, forged(google).rpartition(".")[0] + "."), 401, "token_invalid")


# --- keys and addresses


async def test_keys_are_fetched_once_for_many_deliveries(
    client: httpx.AsyncClient, identity: tuple[GoogleIdentity, str], kit_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fetched: list[str] = []
    identity[0].publish(tmp_path)
    inner = public_objects(tmp_path)

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        fetched.append(scope["path"])
        await inner(scope, receive, send)

    async with served(counting, free_socket()) as url:
        kit_environment.setenv("GOOGLE_CERTS_URL", f"{url}/{JWKS_OBJECT}")
        load.cache_clear()
        answers = [await deliver(client, identity[0].id_token(TASKS, AUDIENCE)) for _ in range(10)]
    assert {answer.status_code for answer in answers} == {200}
    assert len(fetched) == 1


async def test_without_the_keys_the_delivery_is_to_come_again(
    client: httpx.AsyncClient, identity: tuple[GoogleIdentity, str], kit_environment: pytest.MonkeyPatch
) -> None:
    kit_environment.setenv("GOOGLE_CERTS_URL", "http://127.0.0.1:1/certs")
    load.cache_clear()
    jwks._keys.cache_clear()
    answer = await deliver(client, identity[0].id_token(TASKS, AUDIENCE))
    assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (503, "keys_unavailable", True)


def test_a_services_root_is_its_name_in_the_template(kit_environment: pytest.MonkeyPatch) -> None:
    kit_environment.setenv("SERVICE_ROOT", ROOT)
    assert root_of("kit-worker") == AUDIENCE


@pytest.mark.parametrize("template", ["https://example.test", "{service}", "https://{service}.{service}.test"])
def test_a_template_names_the_service_once(template: str) -> None:
    with pytest.raises(ConfigurationError, match="SERVICE_ROOT"):
        read(ServiceSettings, {"SERVICE_ROOT": template})


def test_who_is_called_by_the_queue_or_the_scheduler_reads_how_to_know_them() -> None:
    names = {name for kind in worker.required_settings for name in kind.model_fields}
    assert {"service_root", "google_certs_url", "tasks_service_account"} <= names
    assert "scheduler_service_account" not in names
    assert not worker.public
