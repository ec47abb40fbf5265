"""Requests that nobody would think of, made by Schemathesis from the OpenAPI document, and what it finds wrong.

Wrong is a 5xx, an answer that the document does not tell of (its status, media type, headers or schema), data that is
taken although the document refuses it or refused although it allows it, and a door that opens without a token.
"""

from __future__ import annotations

import itertools
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response
from schemathesis.engine import from_schema
from schemathesis.engine.events import NonFatalError, ScenarioFinished
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.generation.case import Case
from schemathesis.hooks import GLOBAL_HOOK_DISPATCHER, HookContext
from schemathesis.openapi.checks import RejectedPositiveData

from shared.http.declaration import BACKGROUND_CALLERS
from shared.voice.rules import MEDIA_TYPES
from tests.support.database import Database
from tests.support.recordings import KINDS, recording

# A second of sound in each container, and bytes that only say that they are one.
_SOUND = st.sampled_from([recording(kind, 0.3)[0] for kind in KINDS]) | st.binary(max_size=200)
for _media_type in sorted(MEDIA_TYPES):
    schemathesis.openapi.media_type(_media_type, _SOUND)

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Fuzzed:
    """What came of a run. `wrong` has one example for each operation and kind of failure."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: dict[str, str] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        return self.answers.total()

    @property
    def operations(self) -> set[str]:
        return {label for label, _ in self.answers}

    @property
    def limited(self) -> int:
        """Requests that met a limit instead of what they were made for."""
        return sum(count for (_, status), count in self.answers.items() if status == 429)


class Crowd:
    """Many people from many addresses, so that nobody's limit is met.

    A request for something that was made before comes from whoever made it; any other from the next person.
    """

    def __init__(self, newcomer: Callable[[], str] | None, size: int) -> None:
        self._newcomer = newcomer
        self._tokens = deque(newcomer() for _ in range(size)) if newcomer else deque[str]()
        self._makers: dict[str, str] = {}
        self._addresses = itertools.count(1)

    def token_for(self, case: Case[Any]) -> str:
        named = [self._makers.get(str(value)) for value in (case.path_parameters or {}).values()]
        maker = next((token for token in named if token in self._tokens), None)
        self._tokens.rotate(-1)
        return maker or self._tokens[0]

    def replace(self, token: str) -> None:
        """Somebody signed out or is gone: another comes."""
        if self._newcomer and token in self._tokens:
            self._tokens.remove(token)
            self._tokens.append(self._newcomer())

    def new_address(self) -> str:
        number = next(self._addresses)
        return f"172.{16 + (number >> 16 & 15)}.{number >> 8 & 255}.{number & 255}"

    def remember(self, token: str, text: str) -> None:
        for found in _ID.findall(text):
            self._makers.setdefault(found, token)


def from_outside(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without the operations that only the queue and the scheduler reach: no gateway routes to them."""
    paths = {
        path: {
            method: described for method, described in item.items() if described["x-caller"] not in BACKGROUND_CALLERS
        }
        for path, item in document["paths"].items()
    }
    return {**document, "paths": {path: item for path, item in paths.items() if item}}


def fuzz(
    base_url: str,
    document: Mapping[str, Any],
    newcomer: Callable[[], str] | None,
    *,
    seed: int,
    examples: int,
    people: int = 50,
) -> Fuzzed:
    """Run every phase over every operation; `examples` is how many requests each operation meets in each of them.

    `newcomer` signs somebody in and gives a token that outlives the run; without one nobody is signed in. The same
    seed makes the same requests of the same answers.
    """
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "base-url": base_url,
            "continue-on-failure": True,
            "request-timeout": 60,
            "checks": {"max_response_time": 60},
            "generation": {"max-examples": examples, "no-shrink": True, "database": "none"},
            "suppress-health-check": ["all"],
            "warnings": False,
            "cache": {"enabled": False},
        }
    )
    crowd, fuzzed = Crowd(newcomer, people), Fuzzed()
    schema = schemathesis.openapi.from_dict(dict(document), config=config)
    if newcomer is not None:
        schema.auth(refresh_interval=None)(_signing_in(crowd))
    with _hooks(crowd):
        for event in from_schema(schema).execute():
            if isinstance(event, ScenarioFinished):
                _read(event.recorder, fuzzed)
            elif isinstance(event, NonFatalError):
                fuzzed.wrong.setdefault(f"{event.label}: the run", str(event.value))
    return fuzzed


def _signing_in(crowd: Crowd) -> type:
    class SignedIn:
        def get(self, case: Case[Any], context: Any) -> str:  # noqa: ARG002 - the library's
            return crowd.token_for(case)

        def set(self, case: Case[Any], data: str, context: Any) -> None:  # noqa: ARG002 - the library's
            case.headers["Authorization"] = f"Bearer {data}"

    return SignedIn


@contextmanager
def _hooks(crowd: Crowd) -> Iterator[None]:
    def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
        case.headers["X-Forwarded-For"] = crowd.new_address()

    def after_call(context: HookContext, case: Case[Any], response: Response) -> None:
        token = str(response.request.headers.get("Authorization", "")).removeprefix("Bearer ")
        text = response.content.decode(errors="replace")
        if response.status_code < 300 and token:
            crowd.remember(token, text)
        elif response.status_code == 401 and ("sign_in_ended" in text or "person_inactive" in text):
            crowd.replace(token)

    def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
        return not (isinstance(failure, RejectedPositiveData) and _is_about_meaning(response))

    hooks = (before_call, after_call, filter_failure)
    for hook in hooks:
        schemathesis.hook(hook)
    try:
        yield
    finally:
        for hook in hooks:
            GLOBAL_HOOK_DISPATCHER.unregister(hook)


def _is_about_meaning(response: Response) -> bool:
    """Whether data of the right form was refused for what it says, which no schema can tell.

    A time zone that does not exist, a token that nobody issued: our own rules answer with a word of their own, or name
    the field with `value_error`. Any other refusal of a field is of its form, and has to be in the schema.
    """
    problem = response.json()
    if problem["code"] in {"json_invalid", "body_unreadable", "bad_request"}:
        return False
    return all(refused["code"] == "value_error" for refused in problem.get("errors", []))


def _read(recorder: ScenarioRecorder, fuzzed: Fuzzed) -> None:
    for case_id, interaction in recorder.interactions.items():
        label = recorder.cases[case_id].value.operation.label
        if interaction.response is not None:
            fuzzed.answers[label, interaction.response.status_code] += 1
        else:
            fuzzed.wrong.setdefault(f"{label}: no answer", interaction.request.uri)
    for case_id, checks in recorder.checks.items():
        case = recorder.cases[case_id].value
        for check in checks:
            if check.failure_info is not None:
                kind = f"{case.operation.label}: {check.name}: {check.failure_info.failure.title}"
                fuzzed.wrong.setdefault(kind, _told(recorder, case_id, str(check.failure_info.failure.message)))


def _told(recorder: ScenarioRecorder, case_id: str, message: str) -> str:
    interaction = recorder.interactions[case_id]
    response, request = interaction.response, interaction.request
    sent = (
        f"{request.method} {request.uri} {request.headers.get('Content-Type', [''])[0]} {(request.body or b'')[:300]!r}"
    )
    answered = f"{response.status_code} {response.content[:400]!r}" if response else "nothing"
    return f"{message}\n    sent: {sent}\n    answered: {answered}"


def newcomers(db: Database) -> Callable[[], str]:
    """Signs people up past the interface, with tokens that are good for hours."""

    def newcomer() -> str:
        person = db.person()
        return db.sign(person.id, person.sign_in_id, exp=int(time.time()) + 6 * 3600)

    return newcomer
