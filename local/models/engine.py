"""llama.cpp in this process, through xllamacpp: one set of weights, a few places for concurrent answers.

Generation runs on threads; fragments cross into the event loop as they come. Whoever stops listening stops the
generation at its next token.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import httpx

# Threads that wait by spinning make an answer ten times slower as soon as anything else wants the processor; read once,
# when the library is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import xllamacpp

from local.models.chat import Message

Raw = dict[str, Any]


class EngineError(RuntimeError):
    """The engine refused a request; `status` is the HTTP status that says the same (400: too long, 500 otherwise)."""

    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.status = status


class Counted(NamedTuple):
    """What an answer took, in tokens: the prompt, how much of it was known already, and the answer."""

    prompt: int
    cached: int
    answer: int


class Piece(NamedTuple):
    """A fragment of an answer. The last piece has no text and carries the counts and why it ended."""

    text: str
    counted: Counted | None = None
    cut: bool = False


class Engine:
    """Weights, loaded and warm.

    Args:
        weights: a GGUF file.
        parallel: how many answers may be written at once; more wait in line.
        context_tokens: the longest conversation, prompt and answer together, for each of them.
        threads: computing threads.
        snapshots: a folder in which the state after a common opening is kept between starts.
    """

    def __init__(
        self, weights: Path, *, parallel: int = 2, context_tokens: int = 4096, threads: int = 2, snapshots: Path | None
    ) -> None:
        self.weights = weights
        self.parallel = parallel
        self.context_tokens = context_tokens
        self._snapshots = snapshots
        self._key = secrets.token_urlsafe(32)
        self._server = xllamacpp.Server(self._parameters(threads))
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="model")
        self._places = asyncio.Semaphore(parallel)

    def _parameters(self, threads: int) -> Any:
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(self.weights)
        parameters.n_parallel = self.parallel
        parameters.n_ctx = self.context_tokens * self.parallel
        parameters.cpuparams.n_threads = threads
        parameters.cpuparams_batch.n_threads = threads
        parameters.use_jinja = True
        # Repacked weights answer a little faster, but take four times as long to load and twice the memory.
        parameters.no_extra_bufts = True
        parameters.fit_params = False
        parameters.cache_ram_mib = 256
        parameters.verbosity = 1
        # The engine always opens a port of its own; nobody without the key gets anything from it.
        parameters.api_keys = [self._key]
        parameters.ui = False
        if self._snapshots is not None:
            self._snapshots.mkdir(parents=True, exist_ok=True)
            parameters.slot_save_path = f"{self._snapshots}/"
        return parameters

    async def stream(self, request: Raw) -> AsyncGenerator[Piece, None]:
        """Answer a chat-completions request (OpenAI's form), piece by piece.

        Raises:
            EngineError: the request cannot be answered.
        """
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Any] = asyncio.Queue()
        gone = threading.Event()

        def take(chunk: Any) -> bool:
            if not gone.is_set():
                loop.call_soon_threadsafe(arrived.put_nowait, chunk)
            return gone.is_set()

        work = loop.run_in_executor(self._threads, self._answer, request, take)

        def end(_: asyncio.Future[None]) -> None:
            self._places.release()
            arrived.put_nowait(None)

        work.add_done_callback(end)
        try:
            while (chunk := await arrived.get()) is not None:
                for piece in _pieces(chunk):
                    yield piece
            await work
        finally:
            gone.set()

    def _answer(self, request: Raw, take: Callable[[Any], bool]) -> None:
        body = {"stream": True, "cache_prompt": True, "stream_options": {"include_usage": True}, **request}
        self._server.handle_chat_completions(body, take)

    async def warm(self, opening: Sequence[Message]) -> None:
        """Read the opening that every conversation shares into every place, from the last start's snapshot if it fits.

        Reading it anew takes about a second for each 70 tokens; the snapshot takes a few milliseconds.
        """
        name = f"{self.weights.stem}.{self._fingerprint(opening)}.state"
        if not await self._slot(0, "restore", name):
            await self._read(opening, 0)
            await self._keep(name)
        for place in range(1, self.parallel):
            if not await self._slot(place, "restore", name):
                await self._read(opening, place)

    async def _keep(self, name: str) -> None:
        """Snapshot the first place; an older one of the same weights has no further use."""
        if self._snapshots is None:
            return
        for old in self._snapshots.glob(f"{self.weights.stem}.*.state"):
            old.unlink(missing_ok=True)
        partial = f"{name}.{os.getpid()}"
        if await self._slot(0, "save", partial):
            (self._snapshots / partial).replace(self._snapshots / name)

    async def _read(self, opening: Sequence[Message], place: int) -> None:
        async for _ in self.stream({"messages": list(opening), "max_tokens": 1, "id_slot": place}):
            pass

    async def _slot(self, place: int, action: str, name: str) -> bool:
        if self._snapshots is None or (action == "restore" and not (self._snapshots / name).exists()):
            return False
        async with httpx.AsyncClient(base_url=self._server.listening_address, trust_env=False) as client:
            answer = await client.post(
                f"/slots/{place}",
                params={"action": action},
                json={"filename": name},
                headers={"Authorization": f"Bearer {self._key}"},
                timeout=30,
            )
        return answer.is_success

    def _fingerprint(self, opening: Sequence[Message]) -> str:
        """A state fits only the weights, the engine and the shape it was made with."""
        parts = (self.weights.name, version("xllamacpp"), self.parallel, self.context_tokens, list(opening))
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _pieces(chunk: Any) -> list[Piece]:
    chunks = chunk if isinstance(chunk, list) else [chunk]
    return [piece for one in chunks if (piece := _piece(one))]


def _piece(chunk: Raw) -> Piece | None:
    error = chunk.get("error", chunk if "code" in chunk and "message" in chunk else None)
    if error:
        raise EngineError(str(error.get("message")), int(error.get("code") or 500))
    choices = chunk.get("choices") or []
    if usage := chunk.get("usage"):
        details = usage.get("prompt_tokens_details") or {}
        return Piece("", Counted(usage["prompt_tokens"], details.get("cached_tokens", 0), usage["completion_tokens"]))
    if not choices:
        return None
    if choices[0].get("finish_reason") == "length":
        return Piece("", cut=True)
    text = choices[0].get("delta", {}).get("content")
    return Piece(text) if text else None
