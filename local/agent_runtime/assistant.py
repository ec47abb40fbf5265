"""The assistant behind the interface: loading, missing, failed, or ready to answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from enum import StrEnum
from pathlib import Path
from typing import Any

from google.adk.models import BaseLlm

from agent.interface import Query
from local.agent_runtime.errors import GoogleError
from local.agent_runtime.quick_import import agent_app
from local.agent_runtime.settings import RuntimeSettings
from local.models.openai import OpenAIModel
from local.models.scripted import ScriptedModel
from local.models.store import KNOWN, ModelStore, WeightsError

_LOG = logging.getLogger(__name__)
_LOOK_AGAIN_SECONDS = 2.0
Event = dict[str, Any]


class State(StrEnum):
    LOADING = "loading"
    MISSING = "missing"
    FAILED = "failed"
    READY = "ready"


class LocalAssistant:
    """One model and the AdkApp over it. Until `load` is through, `answer` refuses with a sentence."""

    def __init__(self, settings: RuntimeSettings, store: ModelStore) -> None:
        self._settings = settings
        self._store = store
        self._app: Any = None
        self.model_name = settings.model
        self.state = State.LOADING
        self.detail = f"The model ({settings.model}) is being loaded."

    async def load(self) -> None:
        """Make the assistant ready. Where weights are missing, wait for someone to fetch them."""
        while self.state is not State.READY:
            try:
                await self._load()
            except WeightsError as missing:
                if self.state is not State.MISSING:
                    _LOG.warning("%s", missing)
                self.state, self.detail = State.MISSING, str(missing)
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            except Exception as error:
                _LOG.exception("the model cannot be loaded")
                self.state = State.FAILED
                self.detail = f"The model ({self._settings.model}) cannot be loaded: {error}"
                return

    async def _load(self) -> None:
        model = await _make_model(self._settings, self._store)
        self.model_name = model.model
        app = await asyncio.to_thread(lambda: agent_app().build_app(model))
        # The first event is enough: by then everything is imported, and what all conversations share has been read.
        async with aclosing(app.async_stream_query(message="Hello.", user_id="warm-up")) as events:
            await anext(events)
        self._app = app
        self.state, self.detail = State.READY, "Ready."

    async def answer(self, query: Query) -> AsyncGenerator[Event, None]:
        """The events of one turn.

        Raises:
            GoogleError: 503 while there is no model; otherwise whatever the model raises.
        """
        if self.state is not State.READY:
            raise GoogleError(503, self.detail)
        async with aclosing(self._app.async_stream_query(**query.model_dump())) as events:
            async for event in events:
                yield event


async def _make_model(settings: RuntimeSettings, store: ModelStore) -> BaseLlm:
    """The model that MODEL names.

    Raises:
        WeightsError: its weights are not there, or not what they should be.
    """
    wanted = settings.model
    if wanted == "scripted":
        return ScriptedModel(
            reply=settings.scripted_reply,
            token_ms=settings.scripted_token_ms,
            first_token_ms=settings.scripted_first_token_ms,
        )
    if wanted.startswith(("http://", "https://")):
        key = settings.model_key.get_secret_value() if settings.model_key else None
        return await OpenAIModel.at(wanted, name=settings.model_name, key=key)
    if wanted in KNOWN:
        weights = await asyncio.to_thread(store.find, KNOWN[wanted])
    else:
        weights = await asyncio.to_thread(_file, wanted)
    return await asyncio.to_thread(_open, weights, settings, store.folder / "snapshots")


def _file(wanted: str) -> Path:
    path = Path(wanted).expanduser()
    if not path.is_file():
        raise WeightsError(f"MODEL={wanted} is neither {', '.join(KNOWN)} nor a file nor an http address.")
    return path


def _open(weights: Path, settings: RuntimeSettings, snapshots: Path) -> BaseLlm:
    # The engine is a library of a hundred megabytes, which a scripted model must not wait for.
    from local.models.engine import Engine
    from local.models.llm import LocalModel

    return LocalModel(model=weights.stem, engine=Engine(weights, parallel=settings.model_parallel, snapshots=snapshots))
