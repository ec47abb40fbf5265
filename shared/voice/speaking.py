"""Speaking sentences while they are still being written: in order, each as soon as it is there."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncGenerator
from contextlib import aclosing

import av

from shared.clients import texttospeech
from shared.runtime.errors import Unavailable
from shared.voice.audio import OggClock, pcm_seconds
from shared.voice.models import Manner, Piece
from shared.voice.rules import STREAMED_FORMATS, Pacing, plain, utf8_pieces

# The provider ends a stream whose input idles; ending it ourselves a little earlier costs nothing but a new stream.
_IDLE_SECONDS = texttospeech.INPUT_IDLE_SECONDS * 0.7
# One request in flight while the piece before is delivered is enough to stay ahead of the ear.
_AHEAD = 2


class Speech:
    """Sentences in by `say`, pieces of audio out by `pieces`, which ends after `finish`.

    `characters` counts what the provider was given and answered, for the bill.
    """

    def __init__(self, manner: Manner) -> None:
        self._manner = manner
        self._sentences: asyncio.Queue[str | None] = asyncio.Queue()
        self._seq = 0
        self.characters = 0

    def say(self, sentence: str) -> None:
        self._sentences.put_nowait(sentence)

    def finish(self) -> None:
        self._sentences.put_nowait(None)

    async def pieces(self) -> AsyncGenerator[Piece]:
        """The pieces, in order.

        Raises:
            OprinaError: synthesis failed; the pieces before it stand.
        """
        source = self._streamed() if self._manner.audio_format in STREAMED_FORMATS else self._one_by_one()
        async with aclosing(source):
            async for piece in source:
                yield piece

    def _piece(self, text: str, data: bytes, seconds: float) -> Piece:
        piece = Piece(self._seq, text, data, seconds)
        self._seq += 1
        return piece

    async def _one_by_one(self) -> AsyncGenerator[Piece]:
        made: asyncio.Queue[tuple[str, asyncio.Task[bytes]] | None] = asyncio.Queue(_AHEAD)

        async def start_each() -> None:
            while (sentence := await self._sentences.get()) is not None:
                await made.put((sentence, asyncio.create_task(self._synthesize(sentence))))
            await made.put(None)

        starter = asyncio.create_task(start_each())
        try:
            while (entry := await made.get()) is not None:
                sentence, task = entry
                data = await task
                self.characters += len(plain(sentence))
                yield self._piece(sentence, data, _seconds(self._manner, data))
        finally:
            starter.cancel()
            while not made.empty():
                left = made.get_nowait()
                if left is not None:
                    left[1].cancel()

    async def _synthesize(self, sentence: str) -> bytes:
        parts = [
            await texttospeech.synthesize(
                text, self._manner.voice, self._manner.audio_format, self._manner.speaking_rate
            )
            for text in utf8_pieces(plain(sentence))
        ]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _streamed(self) -> AsyncGenerator[Piece]:
        first: str | None = await self._sentences.get()
        while first is not None:
            line = _Line(self._manner, self._sentences, first)
            held: Piece | None = None
            try:
                async with aclosing(line.audio()) as audio:
                    async for data, seconds, text in audio:
                        if held is not None:
                            yield held
                            held = None
                        piece = self._piece(text, data, seconds)
                        if line.unannounced_at_end():
                            held = piece
                        else:
                            yield piece
            finally:
                self.characters += line.spoken_characters()
            if held is not None:
                left = line.announce_rest()
                yield Piece(held.seq, " ".join(filter(None, [held.text, left])), held.data, held.seconds)
            if not line.heard_anything:
                raise Unavailable("The voice said nothing.", code="speech_failed")
            first = line.next_line


class _Line:
    """One synthesis stream of the provider. It ends when the sentences do, or when they pause for too long."""

    def __init__(self, manner: Manner, sentences: asyncio.Queue[str | None], first: str) -> None:
        self._manner = manner
        self._sentences = sentences
        self._first = first
        self._sent: list[str] = []
        self._announced = 0
        self._ended = False
        self._seconds = 0.0
        self._clock = OggClock()
        self._pacing = Pacing(15.0 * manner.speaking_rate)
        self._finished = False
        self.heard_anything = False
        self.next_line: str | None = None

    async def audio(self) -> AsyncGenerator[tuple[bytes, float, str]]:
        """Bytes, their seconds, and the sentences that begin with them."""
        manner = self._manner
        source = texttospeech.stream(self._texts(), manner.voice, manner.audio_format, manner.speaking_rate)
        async with aclosing(source):
            async for data in source:
                seconds = self._clock.feed(data) if manner.audio_format == "ogg_opus" else pcm_seconds(data)
                text = self._announce(self._pacing.begun([len(sent) for sent in self._sent], self._seconds))
                self._seconds += seconds
                self.heard_anything = True
                yield data, seconds, text
        self._finished = True
        # A stream that the provider ended before its input leaves the rest to the next one.
        if not self._ended and self.next_line is None:
            self.next_line = await self._sentences.get()

    async def _texts(self) -> AsyncGenerator[str]:
        sentence: str | None = self._first
        while sentence is not None:
            self._sent.append(sentence)
            for text in filter(None, utf8_pieces(plain(sentence))):
                yield text
            try:
                async with asyncio.timeout(_IDLE_SECONDS):
                    sentence = await self._sentences.get()
            except TimeoutError:
                return
        self._ended = True

    def spoken_characters(self) -> int:
        """Characters to pay for: of all sentences once the stream has ended well, else of those that sounded."""
        sounded = len(self._sent) if self._finished else self._announced
        return sum(len(plain(sentence)) for sentence in self._sent[:sounded]) if self.heard_anything else 0

    def _announce(self, count: int) -> str:
        text = " ".join(self._sent[self._announced : count])
        self._announced = max(self._announced, count)
        return text

    def announce_rest(self) -> str:
        return self._announce(len(self._sent))

    def unannounced_at_end(self) -> bool:
        """Whether all sentences are sent and some have no audio of their own yet: then the last piece takes them."""
        return self._ended and self._announced < len(self._sent)


def _seconds(manner: Manner, data: bytes) -> float:
    if manner.audio_format == "wav":
        with wave.open(io.BytesIO(data), "rb") as file:
            return file.getnframes() / file.getframerate()
    with av.open(io.BytesIO(data), mode="r") as container:
        microseconds: int = container.duration or 0
        return microseconds / 1_000_000
