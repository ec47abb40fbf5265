"""Agent Runtime's stand-in keeps to the interface that the backend and the official client speak."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from agent import deploy
from tests.support import agent as support
from tests.support.agent import PARENT, RESOURCE, StandIn, query

REPLY = "One short sentence. And here is another one."


@pytest.fixture(scope="module")
def agent_stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    folder = tmp_path_factory.mktemp("agent")
    with support.stand_in(folder, MODEL="scripted", SCRIPTED_REPLY=REPLY, SCRIPTED_TOKEN_MS="10") as running:
        yield running


@pytest.fixture(autouse=True)
def _without_faults(agent_stand_in: StandIn) -> None:
    agent_stand_in.set_faults()


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_reply_comes_in_fragments_that_the_last_event_repeats_whole(agent_stand_in: StandIn, version: str) -> None:
    answer = agent_stand_in.ask(query("Hello."), version=version)
    assert answer.status == 200
    assert "".join(answer.fragments) == answer.text == REPLY
    assert answer.events[-1]["usage_metadata"]["candidates_token_count"] == len(REPLY.split())


def test_fragments_leave_as_they_are_written(agent_stand_in: StandIn) -> None:
    answer = agent_stand_in.ask(query("[[say " + "word " * 60 + "]]"))
    assert answer.seconds[-1] - answer.seconds[0] > 0.4


def test_both_spellings_of_the_class_method_are_understood(agent_stand_in: StandIn) -> None:
    body = query("Hello.")
    body["class_method"] = body.pop("classMethod")
    assert agent_stand_in.ask(body).text == REPLY


def test_the_resource_lists_its_class_methods(agent_stand_in: StandIn) -> None:
    resource = agent_stand_in.client.get(f"/v1/{RESOURCE}").json()
    assert resource["name"] == RESOURCE
    assert [(one["name"], one["api_mode"]) for one in resource["spec"]["classMethods"]] == [
        ("async_stream_query", "async_stream")
    ]


def test_an_unknown_resource_is_not_found(agent_stand_in: StandIn) -> None:
    unknown = f"{PARENT}/reasoningEngines/2"
    answers = (agent_stand_in.client.get(f"/v1/{unknown}").json(), agent_stand_in.ask(query("Hi"), unknown).events[0])
    for answer in answers:
        assert (answer["error"]["code"], answer["error"]["status"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "wrong",
    [
        {"classMethod": "delete_everything"},
        {"classMethod": 7},
        {"input": {"user_id": "u"}},
        {"input": {"user_id": "u", "message": "Hi", "favourite": "cake"}},
        {"input": {"user_id": "u", "message": "Hi", "session_events": [{"content": "no content"}]}},
        {"input": {"user_id": "u", "message": "Hi", "run_config": {"streaming_mode": "telepathy"}}},
        {"input": ["a list"]},
    ],
)
def test_wrong_requests_are_refused_before_anything_runs(agent_stand_in: StandIn, wrong: dict[str, object]) -> None:
    answer = agent_stand_in.ask({**query("Hi"), **wrong})
    assert (answer.status, answer.error["status"]) == (400, "INVALID_ARGUMENT")


def test_a_body_that_is_no_json_is_refused(agent_stand_in: StandIn) -> None:
    answer = agent_stand_in.client.post(f"/v1/{RESOURCE}:streamQuery", content=b"{")
    assert answer.status_code == 400


def test_a_tool_answers_for_the_person_of_the_turn(agent_stand_in: StandIn) -> None:
    answer = agent_stand_in.ask(query("[[tool:clock]]", person={"timezone": "Asia/Tokyo"}))
    assert answer.calls[0]["name"] == "clock"
    assert answer.results[0]["zone"] == "Asia/Tokyo"
    assert answer.text == answer.results[0]["spoken"]


def test_the_capability_appears_in_no_event_and_in_no_log(agent_stand_in: StandIn) -> None:
    secret = "zq-capability-that-nobody-may-see"
    answers = [
        agent_stand_in.ask(query(message, capability=secret, history=[("user", "Hi"), ("assistant", "Hello")]))
        for message in ("Hello.", "[[tool:profile]]", "[[fail after 2]]", "[[tool:clock place=Nowhere]]")
    ]
    assert all(answer.events for answer in answers)
    assert secret not in json.dumps([answer.events for answer in answers])
    assert secret not in agent_stand_in.log.read_text()


@pytest.mark.parametrize("fragments", [0, 4])
def test_a_model_that_fails_ends_the_stream_with_an_error(agent_stand_in: StandIn, fragments: int) -> None:
    answer = agent_stand_in.ask(query(f"[[fail after {fragments}]]"))
    assert answer.status == 200
    assert len(answer.fragments) == fragments
    assert answer.events[-2]["error_code"] == "ScriptedFailure"
    assert (answer.error["code"], answer.error["status"]) == (500, "INTERNAL")


def test_a_fault_is_answered_with_its_status(agent_stand_in: StandIn) -> None:
    agent_stand_in.set_faults(streamQuery={"status": 503, "delay_ms": 150})
    began = time.perf_counter()
    answer = agent_stand_in.ask(query("Hello."))
    assert (answer.status, answer.error["status"]) == (503, "UNAVAILABLE")
    assert time.perf_counter() - began >= 0.15


def test_a_late_fault_is_an_error_in_the_middle_of_the_stream(agent_stand_in: StandIn) -> None:
    agent_stand_in.set_faults(streamQuery__after={"status": 500})
    answer = agent_stand_in.ask(query("Hello."))
    assert answer.status == 200
    assert len(answer.fragments) == 3
    assert answer.error["code"] == 500


def test_a_fault_for_every_method_is_suffered_once(agent_stand_in: StandIn) -> None:
    agent_stand_in.set_faults(**{"*": {"delay_ms": 300}})
    answer = agent_stand_in.ask(query("[[say Yes, of course I can do that.]]"))
    assert answer.seconds[0] >= 0.3
    assert answer.seconds[-1] - answer.seconds[0] < 0.3


@pytest.mark.parametrize("method", ["streamQuery", "streamQuery__after"])
def test_a_lost_answer_breaks_the_connection(agent_stand_in: StandIn, method: str) -> None:
    agent_stand_in.set_faults(**{method: {"lose_answer": True}})
    with pytest.raises(httpx.RemoteProtocolError):
        agent_stand_in.ask(query("Hello."))


def test_nothing_is_written_for_a_listener_who_has_left(agent_stand_in: StandIn) -> None:
    before = agent_stand_in.log.read_text()
    # Had the model gone on, it would have failed, and that would be in the log.
    message = query("[[say " + "word " * 99 + "]] [[fail after 60]]")
    with agent_stand_in.client.stream("POST", f"/v1/{RESOURCE}:streamQuery?alt=sse", json=message) as answer:
        next(answer.iter_lines())
    time.sleep(1.5)
    assert agent_stand_in.log.read_text() == before
    assert agent_stand_in.ask(query("Hello.")).text == REPLY


async def test_eighty_turns_are_answered_at_once(agent_stand_in: StandIn) -> None:
    async with httpx.AsyncClient(base_url=agent_stand_in.url, timeout=60, trust_env=False) as client:
        began = time.perf_counter()
        path = f"/v1/{RESOURCE}:streamQuery?alt=sse"
        message = query("[[say " + "word " * 99 + "end]]")
        answers = await asyncio.gather(*(client.post(path, json=message) for _ in range(80)))
        took = time.perf_counter() - began
    assert {answer.status_code for answer in answers} == {200}
    assert all(
        json.loads(answer.text.splitlines()[-1])["content"]["parts"][0]["text"].endswith("end") for answer in answers
    )
    # One after another they would take 80 times a second.
    assert took < 30


def test_the_quota_of_queries_is_enforced(tmp_path: Path) -> None:
    with support.stand_in(tmp_path, MODEL="scripted", QUOTA_AGENT_PER_MINUTE="1", SCRIPTED_TOKEN_MS="0") as running:
        answers = [running.ask(query("[[say Yes.]]")) for _ in range(3)]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    assert refused[0].error["status"] == "RESOURCE_EXHAUSTED"
    assert any(detail["@type"].endswith("google.rpc.RetryInfo") for detail in refused[0].error["details"])


def test_without_weights_the_answer_says_what_is_missing(tmp_path: Path) -> None:
    with support.stand_in(tmp_path, "missing", OPRINA_MODELS=str(tmp_path / "models")) as running:
        answer = running.ask(query("Hello."))
        assert (answer.status, answer.error["status"]) == (503, "UNAVAILABLE")
        assert "python -m local.models fetch" in answer.error["message"]
        assert running.client.get(f"/v1/{RESOURCE}").json()["state"] == "STARTING"
        assert '"ready"' not in running.log.read_text()


def _archive(**files: str) -> str:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return base64.b64encode(packed.getvalue()).decode()


def test_a_deployment_without_its_entry_point_fails(agent_stand_in: StandIn) -> None:
    source = {
        "inlineSource": {"sourceArchive": _archive(**{"requirements.txt": "x"})},
        "pythonSpec": {"entrypointModule": "agent.main", "requirementsFile": "requirements.txt"},
    }
    body = {"displayName": "broken", "spec": {"sourceCodeSpec": source}}
    made = agent_stand_in.client.post(f"/v1beta1/{PARENT}/reasoningEngines", json=body).json()
    operation = agent_stand_in.client.get(f"/v1beta1/{made['name']}").json()
    assert operation["done"]
    assert "agent/main.py" in operation["error"]["message"]


def test_deployed_resources_survive_a_restart(tmp_path: Path) -> None:
    with support.stand_in(tmp_path, MODEL="scripted") as running:
        made = running.client.post(f"/v1/{PARENT}/reasoningEngines", json={"displayName": "kept"}).json()
    with support.stand_in(tmp_path, MODEL="scripted") as running:
        listed = running.client.get(f"/v1/{PARENT}/reasoningEngines").json()["reasoningEngines"]
    assert made["response"]["name"] in {resource["name"] for resource in listed}


OFFICIAL_CLIENT = textwrap.dedent("""
    import asyncio, json, sys, warnings
    import agentplatform
    from google.oauth2.credentials import Credentials
    from agent import deploy

    endpoint = sys.argv[1]
    where = ["--project", "oprina-local", "--endpoint", endpoint]
    what = ["--service-account", "agent@oprina-local.iam.gserviceaccount.com", "--env", "EXTRA=not-to-be-printed"]
    assert deploy.main(["create", *where, *what]) == 0
    client = agentplatform.Client(
        project="oprina-local", location="us-central1", credentials=Credentials("x"),
        http_options={"base_url": endpoint},
    )
    made = next(one.api_resource.name for one in client.runtimes.list() if not one.api_resource.name.endswith("/1"))
    assert deploy.main(["update", *where, "--resource", made, "--model", "gemini-other"]) == 0
    assert deploy.main(["show", *where, "--resource", made]) == 0
    assert deploy.main(["list", *where]) == 0
    runtime = client.runtimes.get(name=made)

    async def ask():
        return [event async for event in runtime.async_stream_query(
            user_id="u", message="Hello.", session_events=[], run_config={"streaming_mode": "sse"})]

    print("EVENTS", json.dumps(asyncio.run(ask())))
    print("ENVIRONMENT", json.dumps({one.name: one.value for one in runtime.api_resource.spec.deployment_spec.env}))
    assert deploy.main(["delete", *where, "--resource", made]) == 0
    assert deploy.main(["show", *where, "--resource", made]) == 1
""")


@pytest.mark.timeout(300)
def test_the_official_client_deploys_the_assistant_and_talks_to_it(agent_stand_in: StandIn) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", OFFICIAL_CLIENT, agent_stand_in.url],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(support.REPOSITORY), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.split(" ")[0].isupper())
    final = json.loads(said["EVENTS"])[-1]
    assert final["content"]["parts"][0]["text"] == REPLY
    assert json.loads(said["ENVIRONMENT"])["AGENT_MODEL"] == "gemini-other"
    assert "AGENT_RESOURCE=projects/" in done.stdout
    assert '"async_stream_query"' in done.stdout
    assert "not-to-be-printed" not in done.stdout.replace(said["ENVIRONMENT"], "")
    assert "(404)" in done.stderr


def test_the_packed_source_imports_nothing_that_was_not_packed(tmp_path: Path) -> None:
    assert deploy.pack(tmp_path) == ["agent", "shared", "requirements.txt"]
    program = (
        "import sys; sys.modules['google.cloud.aiplatform'] = None\n"
        "import agent, shared; from agent.main import app\n"
        "assert agent.__file__.startswith(sys.argv[1]) and shared.__file__.startswith(sys.argv[1])\n"
        "print(app.register_operations())"
    )
    libraries = [path for path in sys.path if path and not Path(path).is_relative_to(support.REPOSITORY)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *libraries])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "async_stream_query" in done.stdout
