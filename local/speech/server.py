"""Both speech APIs on one gRPC server: Speech-to-Text and Text-to-Speech have different service names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.cloud.speech_v2.services.speech.transports import SpeechGrpcTransport
from google.cloud.texttospeech_v1.services.text_to_speech.transports import TextToSpeechGrpcTransport

from local.faults import FaultBook
from local.grpc_server import GrpcServer, StandIn
from local.quotas import Quotas, speech_quotas, texttospeech_quotas
from local.speech.hearing import Ear, ScriptedEar, WhisperEar, read_transcripts
from local.speech.recognizer import Recognizer
from local.speech.speaking import HibariMouth, Mouth, ScriptedMouth
from local.speech.synthesizer import IDLE_SECONDS, Synthesizer


@dataclass(frozen=True)
class Engines:
    ear: Ear
    mouth: Mouth

    async def ready(self) -> None:
        """Return when both are loaded and warm; raise what kept one from loading."""
        await self.mouth.ready()
        await self.ear.ready()


def engines(environment: Mapping[str, str]) -> Engines:
    """The engines that SPEECH_ENGINE names: `local` (default, they begin to load now) or `scripted`.

    The scripted ones read SCRIPTED_TRANSCRIPT, SCRIPTED_TRANSCRIPTS (a JSON file of {sha256 of a clip: transcript}),
    SCRIPTED_HEAR_MS and SCRIPTED_SPEAK_MS (0). Must be called on the event loop that will serve.

    Raises:
        ValueError: SPEECH_ENGINE names no engine, or a figure is none.
    """
    name = environment.get("SPEECH_ENGINE") or "local"
    if name == "local":
        return Engines(WhisperEar(), HibariMouth())
    if name != "scripted":
        raise ValueError(f"SPEECH_ENGINE={name} is neither local nor scripted.")
    file = environment.get("SCRIPTED_TRANSCRIPTS")
    ear = ScriptedEar(
        float(environment.get("SCRIPTED_HEAR_MS") or 0),
        environment.get("SCRIPTED_TRANSCRIPT"),
        read_transcripts(Path(file) if file else None),
    )
    return Engines(ear, ScriptedMouth(float(environment.get("SCRIPTED_SPEAK_MS") or 0)))


def speech_server(
    both: Engines,
    faults: FaultBook,
    *,
    hearing_quotas: Quotas | None = None,
    speaking_quotas: Quotas | None = None,
    idle_seconds: float = IDLE_SECONDS,
) -> GrpcServer:
    """A server of both APIs, not started yet. Without quotas nothing is counted."""
    speech: Any = SpeechGrpcTransport
    texttospeech: Any = TextToSpeechGrpcTransport
    return GrpcServer(
        (
            StandIn("speech", speech, Recognizer(both.ear), faults, hearing_quotas),
            StandIn("texttospeech", texttospeech, Synthesizer(both.mouth, idle_seconds), faults, speaking_quotas),
        )
    )


def speech_server_from_environment(
    both: Engines, faults: FaultBook, project: str, environment: Mapping[str, str]
) -> GrpcServer:
    """A server with the project's quotas, as local/quotas.py reads them."""
    return speech_server(
        both,
        faults,
        hearing_quotas=speech_quotas(project, environment),
        speaking_quotas=texttospeech_quotas(project, environment),
    )
