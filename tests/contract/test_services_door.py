"""Functions at their own addresses: what the queue and the scheduler reach is not what the public reaches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import Request

from local.gateway.services import Services
from local.google_identity import JWKS_OBJECT, GoogleIdentity
from local.public_objects import public_objects
from shared.http.declaration import Caller, Function, Queue
from shared.runtime.settings import load
from tests.support.gateway import free_socket, running_gateway, served

mixed = Function(name="kit-mixed", path="/tasks/{step}", timeout_seconds=1)
public = Function(name="kit-public", path="/v1/public")


@mixed.get("Look", caller=Caller.EVERYONE)
async def look(step: str) -> dict[str, str]:
    return {"step": step}


@mixed.post("Work", caller=Caller.QUEUE, queue=Queue("q"))
async def work(step: str, request: Request) -> dict[str, str]:
    return {"step": step, "path": request.url.path}


@public.get("Look", caller=Caller.EVERYONE)
async def see() -> dict[str, str]:
    return {}


ACCOUNT = "tasks@oprina-local.iam.gserviceaccount.com"
FUNCTIONS = [mixed, public]
APPS = {function.name: function.asgi for function in FUNCTIONS}


@dataclass
class Doors:
    gateway: httpx.AsyncClient
    services: httpx.AsyncClient
    google: GoogleIdentity

    def headers(self, audience: str) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self.google.id_token(ACCOUNT, audience)}",
            "X-CloudTasks-QueueName": "q",
            "X-CloudTasks-TaskName": "t",
            "X-CloudTasks-TaskRetryCount": "0",
        }


@pytest.fixture
async def doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Doors]:
    google = GoogleIdentity(tmp_path / "key.pem")
    google.publish(tmp_path / "public")
    async with (
        running_gateway(tmp_path, FUNCTIONS, APPS) as gateway,
        served(Services(FUNCTIONS, APPS), free_socket()) as base,
        served(public_objects(tmp_path / "public"), free_socket()) as keys,
        httpx.AsyncClient(base_url=base, trust_env=False) as services,
    ):
        monkeypatch.setenv("SERVICE_ROOT", f"{base}/{{service}}")
        monkeypatch.setenv("TASKS_SERVICE_ACCOUNT", ACCOUNT)
        monkeypatch.setenv("GOOGLE_CERTS_URL", f"{keys}/{JWKS_OBJECT}")
        load.cache_clear()
        yield Doors(gateway.client, services, google)
    load.cache_clear()


async def test_a_delivery_reaches_its_function_at_the_root_that_its_token_is_for(doors: Doors) -> None:
    root = f"{str(doors.services.base_url).rstrip('/')}/kit-mixed"
    answer = await doors.services.post("/kit-mixed/tasks/a%20b?x=1", headers=doors.headers(root))
    assert answer.json() == {"step": "a b", "path": "/tasks/a b"}
    wrong = doors.headers(root.replace("mixed", "other"))
    assert (await doors.services.post("/kit-mixed/tasks/a", headers=wrong)).status_code == 401


async def test_the_public_reaches_what_is_public_of_a_function_and_nothing_else(doors: Doors) -> None:
    assert (await doors.gateway.get("/tasks/a")).json() == {"step": "a"}
    answer = await doors.gateway.post("/tasks/a")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/kit-mixed/tasks/a", 405),
        ("POST", "/kit-mixed/tasks/a/b", 404),
        ("POST", "/kit-mixed", 404),
        ("POST", "/tasks/a", 404),
        ("GET", "/kit-public/v1/public", 404),
        ("POST", "/kit-other/tasks/a", 404),
        ("POST", "/", 404),
        ("OPTIONS", "/kit-mixed/tasks/a", 405),
    ],
)
async def test_only_what_background_callers_call_is_behind_the_services_door(
    doors: Doors, method: str, path: str, status: int
) -> None:
    answer = await doors.services.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
