"""Every function starts alone, with nothing installed but the functions' own requirements, and answers HTTP."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from shared.http.declaration import Caller, Function, Operation
from shared.http.discovery import discover
from tests.support.functions import Running, environment, label, sources, started

BATCH = 4
READY_SECONDS = 60
SOURCES = sources()
BATCHES = [SOURCES[start : start + BATCH] for start in range(0, len(SOURCES), BATCH)]


@pytest.fixture(scope="module")
def declared() -> dict[Path, Function]:
    return {function.source: function for function in discover()}


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(tmp_path_factory.mktemp("nobody"))


def wait_until_it_answers(running: Running) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        assert running.process.poll() is None, running.said()
        try:
            httpx.request("OPTIONS", f"{running.address}/", timeout=5)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"no answer after {READY_SECONDS} s:\n{running.said()}")


def address(running: Running, operation: Operation) -> str:
    path = "/".join("1" if part.startswith("{") else part for part in operation.path.split("/"))
    return running.address + path


def assert_answers(running: Running, operation: Operation) -> None:
    answer = httpx.request(operation.method, address(running, operation), timeout=30)
    assert answer.headers["x-request-id"], "the endpoint kit did not see the request"
    if operation.caller is Caller.EVERYONE:
        # What it depends on is away, so it may only refuse, or serve what needs nobody.
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
    else:
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json"), answer.text
        assert answer.json()["status"] == 401


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: "+".join(label(source) for source in batch))
def test_each_starts_alone_and_answers(
    batch: list[Path], declared: dict[Path, Function], variables: dict[str, str], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        running = {source: stack.enter_context(started(source, variables, tmp_path)) for source in batch}
        for source, process in running.items():
            wait_until_it_answers(process)
            for operation in declared[source].operations:
                assert_answers(process, operation)
            wrong = httpx.request("BREW", process.address + "/", timeout=5)
            assert wrong.status_code == 405
            assert "Traceback" not in process.said()


def required(function: Function) -> tuple[str, ...]:
    names = {
        name.upper()
        for kind in function.required_settings
        for name, field in kind.model_fields.items()
        if field.is_required()
    }
    return tuple(sorted(names))


def test_a_missing_setting_stops_the_start_by_its_name(
    declared: dict[Path, Function], variables: dict[str, str], tmp_path: Path
) -> None:
    """One function for each set of variables that functions demand, each without the last of them."""
    examples = list({required(function): source for source, function in declared.items() if required(function)}.items())
    assert examples
    for start in range(0, len(examples), BATCH):
        with ExitStack() as stack:
            waiting = []
            for (*_, missing), source in examples[start : start + BATCH]:
                rest = {name: value for name, value in variables.items() if name != missing}
                waiting.append((missing, stack.enter_context(started(source, rest, tmp_path))))
            for missing, running in waiting:
                assert_refused_to_start(running, missing, variables)


def assert_refused_to_start(running: Running, missing: str, variables: dict[str, str]) -> None:
    assert running.process.wait(READY_SECONDS) != 0
    said = running.said()
    assert f"the environment variable {missing} is missing" in said.splitlines()[-1]
    shown = [name for name, value in variables.items() if len(value) > 20 and value in said]
    assert shown == [], "the values of variables are nobody's business"
