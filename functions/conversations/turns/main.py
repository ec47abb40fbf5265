"""POST /v1/sessions/{session_id}/turns: one question and its answer, as a stream or as one document."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import ValidationError

from shared.clients.agent_runtime import AgentSettings
from shared.clients.database import DatabaseSettings
from shared.clients.speech import SpeechSettings
from shared.clients.texttospeech import TextToSpeechSettings
from shared.conversations import turns
from shared.conversations.turn_models import Question, TextTurn, TurnOptions, TurnResult
from shared.http.bearer import SignedIn
from shared.http.declaration import Caller, Function
from shared.http.problems import from_validation
from shared.http.settings import TokenSettings
from shared.http.streams import Event, EventStream
from shared.http.uploads import FORM_OVERHEAD_BYTES, audio_too_large, bare_media_type, read_audio
from shared.runtime import clock
from shared.runtime.crypto import digest
from shared.runtime.fleet import AGENT, HEARING, SPEAKING
from shared.runtime.visit import FleetCost, Rate, Replay, Visit
from shared.voice import service as voice
from shared.voice.rules import MAX_CLIP_BYTES, MEDIA_TYPES

function = Function(
    name="conversations-turns",
    path="/v1/sessions/{session_id}/turns",
    settings=(DatabaseSettings, TokenSettings, AgentSettings, SpeechSettings, TextToSpeechSettings),
    secrets=("BACKEND_KEY",),
    roles=("roles/aiplatform.user", "roles/speech.client"),
    memory_mb=1024,
    concurrency=80,
    timeout_seconds=150,
    min_instances=1,
)

_too_large = partial(
    audio_too_large, MAX_CLIP_BYTES, "For longer recordings create a transcription job: POST /v1/jobs."
)

# Where a client finds the turn again: https://spec.openapis.org/oas/v3.1.0#link-object
_OF_TURN = {"session_id": "$request.path.session_id", "turn_id": "$response.body#/turn_id"}


@function.post(
    "Take a turn",
    caller=Caller.PERSON,
    idempotency="required",
    streams=True,
    max_body_bytes=MAX_CLIP_BYTES + FORM_OVERHEAD_BYTES,
    too_large=_too_large,
    rate=Rate(30, burst=15),
    token_seconds=120,
    fleet=(FleetCost(AGENT), FleetCost(HEARING), FleetCost(SPEAKING)),
    status_code=201,
    response_model=TurnResult,
    responses={
        201: {
            "links": {
                "turn": {"operationId": "conversations_turn_get", "parameters": _OF_TURN},
                "interrupt": {"operationId": "conversations_interruption_post", "parameters": _OF_TURN},
            }
        }
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": TextTurn.model_json_schema()},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["audio"],
                        "properties": {"audio": {"type": "string", "format": "binary"}},
                    }
                },
            }
            | {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in sorted(MEDIA_TYPES)},
        }
    },
)
async def take_turn(
    session_id: UUID, request: Request, person: SignedIn, options: Annotated[TurnOptions, Query()]
) -> Response:
    written = bare_media_type(request.headers.get("content-type", "")) == "application/json"
    _narrow_fleet(person, written=written, speak=options.speak)
    streamed = "text/event-stream" in request.headers.get("accept", "")
    try:
        if written:
            ongoing = await turns.begin(
                person, session_id, "text", _written(request, person), options, whole=not streamed
            )
        else:
            base, person.fingerprint = person.fingerprint or "", None
            ongoing = await turns.begin(
                person, session_id, "voice", _spoken(request, base), options, whole=not streamed
            )
    except Replay as replay:
        if streamed and replay.status < 400:
            return EventStream(_replayed(replay.body), headers={"Idempotency-Replayed": "true"})
        raise
    if streamed:
        return EventStream(_as_events(ongoing), ongoing.abandoned)
    # By the model, as a replay is, so that both are the same to the byte.
    document = TurnResult.model_validate(await ongoing.document()).model_dump_json()
    return Response(document, status_code=201, media_type="application/json")


def _narrow_fleet(visit: Visit, *, written: bool, speak: bool) -> None:
    """Take from the project-wide quotas only what this turn will use."""
    unused = {HEARING} if written else set()
    if not speak:
        unused.add(SPEAKING)
    visit.fleet = tuple(take for take in visit.fleet if take.name not in unused)


async def _written(request: Request, visit: Visit) -> Question:
    began = clock.monotonic_ms()
    body = await request.body()
    try:
        text = TextTurn.model_validate_json(body).text
    except ValidationError as error:
        located: list[Any] = [{**item, "loc": ("body", *item["loc"])} for item in error.errors(include_url=False)]
        raise from_validation(RequestValidationError(located)) from None
    return Question(text, None, visit.fingerprint or "", clock.monotonic_ms() - began)


async def _spoken(request: Request, base: str) -> Question:
    began = clock.monotonic_ms()
    data = await read_audio(request, media_types=MEDIA_TYPES, limit_bytes=MAX_CLIP_BYTES, too_large=_too_large)
    uploaded_ms = clock.monotonic_ms() - began
    return Question(None, await voice.read_clip(data), digest(base + digest(data)), uploaded_ms)


async def _as_events(ongoing: turns.OngoingTurn) -> AsyncGenerator[Event]:
    number = 0
    async for event in ongoing.events():
        yield Event(event.name, event.data, id=str(number))
        number += 1


async def _replayed(body: dict[str, Any]) -> AsyncGenerator[Event]:
    yield Event("turn.completed", body, id="0")


main = function.entry_point()
