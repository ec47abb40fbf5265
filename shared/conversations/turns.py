"""Taking a turn: opened while its question is uploaded, run, and closed whatever happens."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Awaitable
from typing import Any
from uuid import UUID

from shared.clients.retrying import while_away
from shared.conversations import turn_rules as rules
from shared.conversations import turn_store as store
from shared.conversations.rules import title_from
from shared.conversations.turn_models import (
    Question,
    ReplyAudio,
    TurnKind,
    TurnOptions,
    TurnResult,
)
from shared.conversations.turn_run import TurnEvent, TurnRun
from shared.operations.rules import total_cost_micros
from shared.runtime import clock, ids, logs
from shared.runtime.crypto import digest
from shared.runtime.errors import BadRequest, Conflict, OprinaError, Unauthenticated, Unavailable, UpstreamFailed
from shared.runtime.problem import problem_document
from shared.runtime.visit import Replay, Visit
from shared.voice import service as voice
from shared.voice.models import MIME_TYPES

# How long the agent may go on after the person has left, and how often we look whether they broke in on purpose.
_FINISH_SECONDS = 15.0
_GLANCE_SECONDS = 0.5

# Closing again with the same outcome gives the same answer, so a lost answer is asked for again.
_close_turn = while_away("database_unavailable", store.close_turn, seconds=5.0)


class OngoingTurn:
    """A turn that has begun. Read `events`, or wait for `document`; call `abandoned` when the listener is gone."""

    def __init__(self, visit: Visit, session_id: UUID, run: TurnRun, question: Question, options: TurnOptions) -> None:
        self._visit = visit
        self._session_id = session_id
        self._run = run
        self._question = question
        self._options = options
        self._broken_into = False
        run.emit("turn.started", {"turn_id": str(run.opened.turn_id), "session_id": str(session_id)})
        self._work = asyncio.create_task(run.work(question))
        self._task = asyncio.create_task(self._conduct())
        # Whoever reads the stream is told of a failure there; nobody else has to ask for it.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def events(self) -> AsyncGenerator[TurnEvent]:
        """What happens, as it happens; the last event is `turn.completed` or `turn.failed`."""
        async for event in self._run.events():
            yield event

    async def document(self) -> dict[str, Any]:
        """The whole turn as one document.

        Raises:
            OprinaError: the turn failed.
        """
        result = await asyncio.shield(self._task)
        progress = self._run.progress
        if progress.pieces:
            audio = await voice.as_file(bytes(progress.audio), self._options.audio_format)
            result["audio"] = ReplyAudio(
                mime=MIME_TYPES[self._options.audio_format],
                data=base64.b64encode(audio).decode(),
                seconds=round(progress.audio_seconds, 3),
            ).model_dump()
        return result

    async def abandoned(self) -> None:
        """The person left: stop speaking, let the agent finish for a while, close the turn in any case."""
        self._run.speak_no_more()
        deadline = clock.monotonic_ms() + _FINISH_SECONDS * 1000
        while not self._task.done() and clock.monotonic_ms() < deadline:
            await asyncio.wait({self._task}, timeout=_GLANCE_SECONDS)
            if not self._task.done() and await self._interrupted_on_purpose():
                self._broken_into = True
                break
        self._work.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _interrupted_on_purpose(self) -> bool:
        """Whether the person interrupted on purpose: then nobody waits for the rest of the answer."""
        try:
            turn = await store.get_turn(self._visit.within(), self._session_id, self._run.opened.turn_id)
        except OprinaError:
            return False
        return turn.interrupted

    async def _conduct(self) -> dict[str, Any]:
        run = self._run
        try:
            error = await _outcome_of(self._work)
            if self._broken_into and run.progress.reply.strip():
                error = None
            result = await self._close(error)
        except OprinaError as failure:
            run.emit("turn.failed", _problem(run, failure))
            raise
        except Exception:
            run.emit("turn.failed", _problem(run, _unforeseen()))
            raise
        else:
            run.emit("turn.completed", result)
            return result
        finally:
            run.end_events()

    async def _close(self, error: OprinaError | None) -> dict[str, Any]:
        run = self._run
        outcome = _outcome(run, self._question, error)
        try:
            stored = await _close_turn(self._visit, run.opened.turn_id, outcome)
        except OprinaError as refused:
            logs.logger().exception("a turn could not be stored")
            # Closed by somebody else already: it was lost, or its person may not act any more.
            if isinstance(refused, (Conflict, Unauthenticated)):
                raise
            raise Unavailable(
                "The answer could not be stored, so it does not count. Try again.", code="not_stored"
            ) from refused
        if error is not None:
            raise error
        assert stored is not None
        return stored


async def _outcome_of(work: asyncio.Task[None]) -> OprinaError | None:
    try:
        await work
    except OprinaError as error:
        return error
    except asyncio.CancelledError:
        return UpstreamFailed("The answer was not finished: the client had left.", code="client_gone")
    except Exception:
        logs.logger().exception("a turn failed for a reason nobody foresaw")
        return _unforeseen()
    return None


def _unforeseen() -> OprinaError:
    return OprinaError("Something went wrong on our side. The request id helps us find it.")


def _problem(run: TurnRun, error: OprinaError) -> dict[str, Any]:
    """The document of a turn's failure: the same in the stream, in the answer and in the database."""
    error.extra["turn_id"] = str(run.opened.turn_id)
    return problem_document(error, run.instance)


def _outcome(run: TurnRun, question: Question, error: OprinaError | None) -> dict[str, Any]:
    """What `close_turn` writes: all that really happened, and nothing that did not."""
    progress = run.progress
    progress.timings["total"] = clock.monotonic_ms() - progress.started_ms
    usage = [item.model_dump(mode="json") for item in progress.usage]
    cost = total_cost_micros(progress.usage)
    timings = rules.rounded(progress.timings)
    user_message_id, assistant_message_id = ids.new_id(), ids.new_id()
    user = assistant = None
    if progress.said is not None:
        kind: TurnKind = "text" if progress.transcript is None else "voice"
        heard = progress.transcript.model_dump(exclude={"text"}) if progress.transcript else None
        user = {"id": str(user_message_id), "text": progress.said, "kind": kind, "voice": heard}
    if progress.reply.strip():
        state = "complete" if error is None else "incomplete"
        assistant = {"id": str(assistant_message_id), "text": progress.reply, "state": state}
    result = None
    if user is not None and assistant is not None:
        result = TurnResult(
            turn_id=run.opened.turn_id,
            user_message_id=user_message_id,
            assistant_message_id=assistant_message_id,
            transcript=progress.transcript,
            reply=progress.reply,
            usage=progress.usage,
            cost_micros=cost,
            timings_ms=timings,
            speech=progress.speech,
        ).model_dump(mode="json")
    return {
        "status": "completed" if error is None else "failed",
        "code": error.code if error else None,
        "problem": _problem(run, error) if error else None,
        "fingerprint": question.fingerprint,
        "user_message": user,
        "assistant_message": assistant,
        "usage": usage,
        "cost_micros": cost,
        "timings_ms": timings,
        "speech": {"pieces": rules.speech_timeline(progress.reply, progress.pieces) if run.speaks else None},
        "title": title_from(progress.said) if progress.said else None,
        "result": result,
        "http_status": 201 if error is None else error.status,
    }


async def begin(
    visit: Visit,
    session_id: UUID,
    kind: TurnKind,
    upload: Awaitable[Question],
    options: TurnOptions,
    *,
    whole: bool = False,
) -> OngoingTurn:
    """Open a turn while its question is still being uploaded, and set it going.

    `whole`: nobody reads the events; the spoken answer is wanted as one file.

    Raises:
        Replay: the idempotency key's turn has ended; its content was the same.
        OprinaError: refused, or the question cannot be read; then the opened turn is closed as failed.
    """
    began = clock.monotonic_ms()
    capability = ids.new_secret()
    opening = asyncio.ensure_future(_opened(visit, session_id, kind, capability, options, whole=whole))
    reading = asyncio.ensure_future(upload)
    try:
        await asyncio.wait({opening, reading}, return_when=asyncio.FIRST_EXCEPTION)
        try:
            run = await opening
        except Replay as replay:
            # Of a lost turn nobody knows what its content was.
            replay.compare((await reading).fingerprint)
            raise
        run.progress.started_ms = began
        question = await _readable(visit, run, reading)
    finally:
        for task in (opening, reading):
            task.cancel()
        await asyncio.gather(opening, reading, return_exceptions=True)
    run.progress.timings["upload"] = question.uploaded_ms
    return OngoingTurn(visit, session_id, run, question, options)


async def _opened(
    visit: Visit, session_id: UUID, kind: TurnKind, capability: str, options: TurnOptions, *, whole: bool
) -> TurnRun:
    began = clock.monotonic_ms()
    if options.speak and (options.voice or options.language):
        await voice.manner_for(options.voice, options.language, options.audio_format)
    if kind == "voice" and options.language:
        voice.hearing_language(options.language)
    opened = await store.open_turn(visit, session_id, ids.new_id(), kind, digest(capability))
    assert visit.person_id is not None
    run = TurnRun(opened, visit.person_id, capability, options.language or opened.person.language, whole=whole)
    run.instance = f"/v1/sessions/{session_id}/turns"
    run.progress.mark("open", began)
    if options.speak:
        await run.choose_manner(options)
    return run


async def _readable(visit: Visit, run: TurnRun, reading: asyncio.Future[Question]) -> Question:
    try:
        return await reading
    except Exception as error:
        # Whatever it was: a turn that stayed open would keep the session busy until its lease ran out.
        told = error if isinstance(error, OprinaError) else BadRequest("It could not be read.", code="body_unreadable")
        unread = Question(text=None, clip=None, fingerprint="", uploaded_ms=0.0)
        outcome = _outcome(run, unread, told) | {"fingerprint": None}
        await store.close_turn(visit, run.opened.turn_id, outcome)
        raise
