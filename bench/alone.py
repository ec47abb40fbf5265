"""The stand-ins alone, called as their official clients call them: what the critical path takes without the product."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from types import TracebackType
from uuid import uuid4

import grpc.aio
import httpx
from google.cloud import speech_v2, texttospeech_v1
from google.cloud.speech_v2.services.speech.transports import SpeechGrpcAsyncIOTransport
from google.cloud.texttospeech_v1.services.text_to_speech.transports import TextToSpeechGrpcAsyncIOTransport

from local.launcher.environment import AGENT_RESOURCE, RECOGNIZER
from local.places import HOST, Places, url
from shared.assistant import rules
from shared.assistant.models import PersonContext, SaidBefore, TextDelta

_VOICE = "en-US-Chirp3-HD-Aoede"
_ENCODINGS = {"pcm": texttospeech_v1.AudioEncoding.PCM, "ogg_opus": texttospeech_v1.AudioEncoding.OGG_OPUS}


class Alone:
    """Calls one stand-in at a time. Each measurement returns milliseconds."""

    def __init__(self, places: Places) -> None:
        self._channel = grpc.aio.insecure_channel(f"{HOST}:{places.speech_port}")
        self._ear = speech_v2.SpeechAsyncClient(transport=SpeechGrpcAsyncIOTransport(channel=self._channel))
        self._mouth = texttospeech_v1.TextToSpeechAsyncClient(
            transport=TextToSpeechGrpcAsyncIOTransport(channel=self._channel)
        )
        self._agent = httpx.AsyncClient(base_url=url(places.agent_port), timeout=30, trust_env=False)

    async def __aenter__(self) -> Alone:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._agent.aclose()
        await self._channel.close()

    async def hearing(self, clip: bytes) -> float:
        """One recognition."""
        request = speech_v2.RecognizeRequest(
            recognizer=RECOGNIZER,
            config=speech_v2.RecognitionConfig(
                auto_decoding_config=speech_v2.AutoDetectDecodingConfig(), language_codes=["en-US"], model="chirp_3"
            ),
            content=clip,
        )
        began = time.monotonic()
        answer = await self._ear.recognize(request=request)
        assert answer.results
        return (time.monotonic() - began) * 1000

    async def thinking(self, said: str, first_sentence: str, history: Sequence[SaidBefore]) -> float:
        """A query, until the last token of the answer's first sentence is there."""
        person = PersonContext(timezone="UTC", language="en")
        arguments = rules.query(str(uuid4()), said, history, person, datetime.now(UTC), "")
        body = {"class_method": "async_stream_query", "input": arguments}
        reader, text, took = rules.EventReader(), "", None
        began = time.monotonic()
        async with self._agent.stream("POST", f"/v1/{AGENT_RESOURCE}:streamQuery?alt=sse", json=body) as answer:
            assert answer.status_code == 200, await answer.aread()
            async for line in answer.aiter_lines():
                steps = reader.read(json.loads(line))
                text += "".join(step.text for step in steps if isinstance(step, TextDelta))
                if took is None and text.rstrip().startswith(first_sentence):
                    took = (time.monotonic() - began) * 1000
        assert took is not None, text
        return took

    async def speaking(self, sentence: str, audio_format: str) -> float:
        """A synthesis stream, until its first bytes are there."""

        async def requests() -> AsyncIterator[texttospeech_v1.StreamingSynthesizeRequest]:
            yield texttospeech_v1.StreamingSynthesizeRequest(
                streaming_config=texttospeech_v1.StreamingSynthesizeConfig(
                    voice=texttospeech_v1.VoiceSelectionParams(name=_VOICE, language_code="en-US"),
                    streaming_audio_config=texttospeech_v1.StreamingAudioConfig(
                        audio_encoding=_ENCODINGS[audio_format], sample_rate_hertz=24_000
                    ),
                )
            )
            yield texttospeech_v1.StreamingSynthesizeRequest(
                input=texttospeech_v1.StreamingSynthesisInput(text=sentence)
            )

        took = None
        began = time.monotonic()
        async for answer in await self._mouth.streaming_synthesize(requests=requests()):
            if took is None and answer.audio_content:
                took = (time.monotonic() - began) * 1000
        assert took is not None
        return took
