"""One turn at work: hearing, thinking and speaking, each overlapping with what follows it.

Nothing here knows HTTP. Events go into a queue as they happen; the turn ends by itself, also when nobody listens any
more, and is closed in the database before its last event is given out.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from shared.assistant import service as assistant
from shared.assistant.models import AgentStep, TextDelta, TokensUsed, ToolStep
from shared.conversations import turn_rules as rules
from shared.conversations.turn_models import Opened, Question, SpeechOutcome, TurnOptions
from shared.operations.models import UsageItem
from shared.operations.rules import cost_micros
from shared.runtime import clock, ids, logs
from shared.runtime.errors import OprinaError, TooLarge, UpstreamFailed, UpstreamTimeout
from shared.runtime.problem import problem_document
from shared.voice import service as voice
from shared.voice.models import MIME_TYPES, Manner, Transcript

TURN_SECONDS = 110.0
# A streamed answer of the platform ends at 10 MB; what is left over is for the events around the audio.
MAX_STREAMED_AUDIO_BYTES = 9_000_000


@dataclass(frozen=True)
class TurnEvent:
    name: str
    data: dict[str, Any]


@dataclass
class Progress:
    """What has happened so far; whatever way the turn ends, this is what it leaves."""

    started_ms: float
    transcript: Transcript | None = None
    said: str | None = None
    reply: str = ""
    usage: list[UsageItem] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    pieces: list[rules.SpokenPiece] = field(default_factory=list)
    speech: SpeechOutcome = field(default_factory=SpeechOutcome)
    audio: bytearray = field(default_factory=bytearray)
    audio_seconds: float = 0.0
    audio_sent_bytes: int = 0
    first_sentence_ms: float | None = None

    def mark(self, name: str, since_ms: float) -> None:
        """Keep how long a stage took, the first time only."""
        self.timings.setdefault(name, clock.monotonic_ms() - since_ms)


class TurnRun:
    """Runs one opened turn. `events` may be read by one listener; `speak_no_more` when nobody hears it.

    `whole`: nobody reads the events; the sound is collected instead.
    """

    def __init__(self, opened: Opened, person_id: UUID, capability: str, language: str, *, whole: bool) -> None:
        self.opened = opened
        self._whole = whole
        self._person_id = person_id
        self._capability = capability
        self._manner: Manner | None = None
        self._language = language
        self._events: asyncio.Queue[TurnEvent | None] = asyncio.Queue()
        self._speaking: asyncio.Task[None] | None = None
        self.instance: str | None = None
        self.progress = Progress(clock.monotonic_ms())

    @property
    def speaks(self) -> bool:
        """Whether the answer was to be heard; one that was only read is kept whole when it is interrupted."""
        return self._speaking is not None

    def emit(self, name: str, data: dict[str, Any]) -> None:
        if not self._whole:
            self._events.put_nowait(TurnEvent(name, data))

    def end_events(self) -> None:
        self._events.put_nowait(None)

    async def events(self) -> AsyncGenerator[TurnEvent]:
        while (event := await self._events.get()) is not None:
            yield event

    async def choose_manner(self, options: TurnOptions) -> None:
        """Choose the voice; a person whose own language no voice speaks is answered in writing, and told so.

        Files cannot be joined from pieces: where one file is wanted, samples are collected and made into it at the end.
        """
        audio_format = "pcm" if self._whole and options.audio_format in {"wav", "mp3"} else options.audio_format
        try:
            self._manner = await voice.manner_for(options.voice, self._language, audio_format)
        except OprinaError as error:
            self._speech_failed(error)

    def speak_no_more(self) -> None:
        """Stop synthesis at once; the agent goes on."""
        self._manner = None
        if self._speaking is not None:
            self._speaking.cancel()

    async def work(self, question: Question) -> None:
        """Hear, think and speak.

        Raises:
            OprinaError: the turn failed; `progress` holds what there is.
        """
        try:
            async with asyncio.timeout(TURN_SECONDS):
                said = question.text or await self._hear(question)
                self.progress.said = said
                await self._answer(said)
        except TimeoutError:
            raise UpstreamTimeout("The turn took too long and was ended.", code="turn_timeout") from None

    async def _hear(self, question: Question) -> str:
        assert question.clip is not None
        began = clock.monotonic_ms()
        transcript, usage = await voice.hear(question.clip, voice.hearing_language(self._language))
        self.progress.mark("hear", began)
        self.progress.transcript = transcript
        self.progress.usage.append(usage)
        self.emit("transcript", transcript.model_dump())
        return transcript.text

    async def _answer(self, said: str) -> None:
        speech = voice.Speech(self._manner) if self._manner is not None else None
        if speech is not None:
            self._speaking = asyncio.create_task(self._speak(speech))
        try:
            await self._think(said, speech)
            if self._speaking is not None:
                await asyncio.gather(self._speaking, return_exceptions=True)
        finally:
            if self._speaking is not None:
                self._speaking.cancel()
                await asyncio.gather(self._speaking, return_exceptions=True)

    async def _think(self, said: str, speech: voice.Speech | None) -> None:
        began = clock.monotonic_ms()
        cutter = voice.SentenceCutter()
        opened = self.opened
        steps = assistant.think(str(self._person_id), said, opened.history, opened.person, self._capability)
        async with aclosing(steps):
            async for step in steps:
                self._take(step, began)
                if isinstance(step, TextDelta) and speech is not None:
                    self._say(speech, cutter.feed(step.text), began)
        self.progress.mark("agent", began)
        if not self.progress.reply.strip():
            raise UpstreamFailed("The assistant had no answer. Try to say it differently.", code="agent_silent")
        if speech is not None:
            rest = cutter.rest()
            self._say(speech, [rest] if rest else [], began)
            speech.finish()

    def _take(self, step: AgentStep, began: float) -> None:
        if isinstance(step, TextDelta):
            self.progress.mark("agent_first_token", began)
            self.progress.reply += step.text
            self.emit("reply.delta", {"text": step.text})
        elif isinstance(step, ToolStep):
            self.emit("tool", {"name": step.name, "status": step.status, "summary": step.summary})
        else:
            self.progress.usage += _token_items(step)

    def _say(self, speech: voice.Speech, sentences: list[str], began: float) -> None:
        for sentence in sentences:
            if self.progress.first_sentence_ms is None:
                self.progress.first_sentence_ms = clock.monotonic_ms()
                self.progress.mark("agent_first_sentence", began)
            speech.say(sentence)

    async def _speak(self, speech: voice.Speech) -> None:
        """Give out audio as it is made. A voice that fails ends the speaking, not the turn."""
        try:
            async with aclosing(speech.pieces()) as pieces:
                async for piece in pieces:
                    self._take_piece(piece.seq, piece.text, piece.data, piece.seconds)
                    if self.progress.audio_sent_bytes > MAX_STREAMED_AUDIO_BYTES:
                        self._speech_failed(_audio_truncated())
                        break
                else:
                    self.progress.speech = SpeechOutcome(status="complete")
        except OprinaError as error:
            self._speech_failed(error)
        except Exception:
            logs.logger().exception("speaking failed for a reason nobody foresaw")
            self._speech_failed(UpstreamFailed("Speaking failed.", code="speech_failed"))
        finally:
            if speech.characters:
                self.progress.usage.append(voice.speaking_usage(speech.characters))

    def _speech_failed(self, error: OprinaError) -> None:
        status = "partial" if self.progress.pieces else "failed"
        self.progress.speech = SpeechOutcome(status=status, problem=problem_document(error))

    def _take_piece(self, seq: int, text: str, data: bytes, seconds: float) -> None:
        progress = self.progress
        if not progress.pieces:
            progress.mark("speech_first_byte", progress.first_sentence_ms or progress.started_ms)
            progress.mark("first_audio", progress.started_ms)
        progress.pieces.append(rules.SpokenPiece(seq, text, progress.audio_seconds, seconds))
        progress.audio_seconds += seconds
        encoded = base64.b64encode(data).decode()
        progress.audio_sent_bytes += len(encoded)
        if self._whole:
            progress.audio += data
        elif self._manner is not None:
            mime = MIME_TYPES[self._manner.audio_format]
            self.emit("audio", {"seq": seq, "text": text, "mime": mime, "data": encoded, "seconds": round(seconds, 3)})


def _token_items(step: TokensUsed) -> list[UsageItem]:
    provider = f"agent/{step.model or 'unknown'}"
    return [
        UsageItem(
            id=ids.new_id(),
            kind="thinking",
            provider=provider,
            unit=unit,
            quantity=quantity,
            cost_micros=cost_micros(provider, unit, quantity),
        )
        for unit, quantity in (("input_tokens", step.input_tokens), ("output_tokens", step.output_tokens))
    ]


def _audio_truncated() -> OprinaError:
    return TooLarge(
        "The spoken answer is longer than one answer may be; the rest is text only.", code="audio_truncated"
    )
