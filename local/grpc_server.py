"""Serves Google APIs over gRPC from the official clients' own message types.

The client libraries ship no servicers, but their transports know every method's path, kind and message types; what a
transport would call is what is served here. Methods that a stand-in does not implement are answered with UNIMPLEMENTED.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from local import pace
from local.faults import Fault, FaultBook
from local.quotas import Quotas
from local.refusals import Refusal

HOST: Final = "127.0.0.1"
MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
)
_QUIET_SECONDS: Final = 0.05
_LONGEST_QUIETING_SECONDS: Final = 0.5

log = logging.getLogger("local.calls")
Check = Callable[["Call"], None]


@dataclass(frozen=True)
class Call:
    """What a check may judge before any work is done. `seconds_left` is None where the client set no deadline."""

    stand_in: str
    method: str
    metadata: Mapping[str, str]
    seconds_left: float | None


@dataclass(frozen=True)
class StandIn:
    """One Google API as this process serves it.

    `implementation` has methods named as in the API (`Recognize`). Those that answer once are coroutine functions of
    the request; those that stream are asynchronous generators of the request, or of the iterator of requests. They
    raise `Refusal` to answer with an error. `checks` may raise it too, before the quota, the fault and the work.
    """

    name: str
    transport: type[Any]
    implementation: object
    faults: FaultBook
    quotas: Quotas | None = None
    checks: tuple[Check, ...] = field(default=())


class GrpcServer:
    """A gRPC server on the loopback interface with any number of stand-ins."""

    def __init__(self, stand_ins: Iterable[StandIn]) -> None:
        handlers = [handler for stand_in in stand_ins for handler in _handlers(stand_in)]
        self._handlers = (*handlers, _Unimplemented())
        self._server: grpc.aio.Server | None = None

    async def start(self, port: int = 0) -> int:
        """Listen; 0 takes a free port. Returns the port.

        Raises:
            RuntimeError: the port is taken.
        """
        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers(self._handlers)
        bound: int = server.add_insecure_port(f"{HOST}:{port}")
        await server.start()
        self._server = server
        return bound

    async def stop(self, grace_seconds: float = 1.0) -> None:
        """Refuse new calls, give those that run the grace, then break them off."""
        if self._server is not None:
            await self._server.stop(grace_seconds)
            self._server = None


@dataclass(frozen=True)
class _Method:
    service: str
    name: str
    kind: str
    parse: Callable[[bytes], Any] | None
    serialize: Callable[[Any], bytes] | None


def _recording(kind: str) -> Callable[..., Callable[..., None]]:
    def record(
        self: _Recorder,
        path: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        *_rest: Any,
        **_named: Any,
    ) -> Callable[..., None]:
        service, _, name = path.removeprefix("/").partition("/")
        # proto-plus passes bound methods of its message classes; plain protobuf messages are in no method served here
        request = getattr(request_serializer, "__self__", None)
        response = getattr(response_deserializer, "__self__", None)
        parse, serialize = getattr(request, "deserialize", None), getattr(response, "serialize", _plainly)
        self.methods.append(_Method(service, name, kind, parse, serialize))
        return lambda *_, **__: None

    return record


class _Recorder(grpc.Channel):  # type: ignore[misc]
    """A channel that calls nobody and remembers which calls a transport knows how to make."""

    def __init__(self) -> None:
        self.methods: list[_Method] = []

    unary_unary = _recording("unary_unary")
    unary_stream = _recording("unary_stream")
    stream_unary = _recording("stream_unary")
    stream_stream = _recording("stream_stream")

    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None: ...

    def unsubscribe(self, callback: Any) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> _Recorder:
        return self

    def __exit__(self, *_: object) -> None: ...


def _plainly(message: Any) -> bytes:
    serialized: bytes = message.SerializeToString()
    return serialized


def _methods(transport: type[Any]) -> list[_Method]:
    recorder = _Recorder()
    known = transport(channel=recorder)
    # the transport logs through a wrapper that opens its calls only when they are made: take it out of the way
    known._logged_channel = recorder  # noqa: SLF001
    known._stubs.clear()  # noqa: SLF001
    recorder.methods.clear()
    calls = [
        name
        for name, member in inspect.getmembers(transport, lambda member: isinstance(member, property))
        if not name.startswith("_") and name not in {"grpc_channel", "host", "kind", "operations_client"}
    ]
    for name in calls:
        getattr(known, name)
    return recorder.methods


def _handlers(stand_in: StandIn) -> list[Any]:
    services: dict[str, dict[str, Any]] = {}
    for method in _methods(stand_in.transport):
        work = getattr(stand_in.implementation, method.name, None)
        if work is None:
            continue
        make = getattr(grpc, f"{method.kind}_rpc_method_handler")
        answer = _Answer(stand_in, method.name, work)
        behaviour = answer.stream if method.kind.endswith("_stream") else answer.once
        services.setdefault(method.service, {})[method.name] = make(
            behaviour, request_deserializer=method.parse, response_serializer=method.serialize
        )
    return [grpc.method_handlers_generic_handler(service, methods) for service, methods in services.items()]


class _Answer:
    """One implemented method with everything around it: checks, quota, fault, the error's shape, the log line."""

    def __init__(self, stand_in: StandIn, method: str, work: Callable[[Any], Any]) -> None:
        self._stand_in = stand_in
        self._method = method
        self._work = work

    async def once(self, request: Any, context: Any) -> Any:
        async with self._framed(request, context) as fault:
            pace.note_arrival()
            if fault.duplicate and not hasattr(request, "__anext__"):
                return await self._twice(request, fault)
            answer = await self._work(request)
            self._lose(fault)
            return answer

    async def stream(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """A lost answer is a stream that breaks after its first message, with the work done to its end."""
        async with self._framed(request, context) as fault:
            sent = False
            async with contextlib.aclosing(self._work(request)) as answers:
                async for answer in answers:
                    if not (fault.lose_answer and sent):
                        yield answer
                    sent = True
            self._lose(fault)

    async def _twice(self, request: Any, fault: Fault) -> Any:
        """The request arrives twice; the sender sees the answer to the first and never learns of the second."""
        answer = await self._work(request)
        with contextlib.suppress(Refusal):
            await self._work(request)
        self._lose(fault)
        return answer

    @contextlib.asynccontextmanager
    async def _framed(self, request: Any, context: Any) -> AsyncIterator[Fault]:
        started, status = time.perf_counter(), "OK"
        try:
            yield await self._admit(context)
        except Refusal as refusal:
            status = refusal.code.name
            await _until_quiet(request)
            await _abort(context, refusal)
        except (asyncio.CancelledError, GeneratorExit):
            status = "CANCELLED"
            raise
        except grpc.aio.AbortError:
            raise
        except Exception:
            status = "INTERNAL"
            log.exception("%s.%s failed", self._stand_in.name, self._method)
            await _abort(context, Refusal(grpc.StatusCode.INTERNAL, "Internal error encountered."))
        finally:
            self._say(status, time.perf_counter() - started)

    async def _admit(self, context: Any) -> Fault:
        stand_in = self._stand_in
        if stand_in.checks:
            call = _call(stand_in.name, self._method, context)
            for check in stand_in.checks:
                check(call)
        if stand_in.quotas is not None:
            stand_in.quotas.take(self._method)
        fault = stand_in.faults.for_call(stand_in.name, self._method)
        if fault.delay_ms:
            await asyncio.sleep(fault.delay_ms / 1000)
        if fault.should_fail():
            told = f"{self._method} failed because the local cloud was told to let it fail."
            raise Refusal(fault.grpc_status, fault.says or told)
        return fault

    def _lose(self, fault: Fault) -> None:
        if fault.lose_answer:
            raise Refusal(grpc.StatusCode.UNAVAILABLE, "The connection broke before the answer arrived.")

    def _say(self, status: str, seconds: float) -> None:
        if log.isEnabledFor(logging.INFO):
            line = {
                "stand_in": self._stand_in.name,
                "method": self._method,
                "status": status,
                "duration_ms": round(seconds * 1000, 1),
            }
            log.info(json.dumps(line))


class _Unimplemented(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers every method that nobody implements, in words that name it."""

    def service(self, handler_call_details: Any) -> Any:
        api, _, method = handler_call_details.method.removeprefix("/").partition("/")

        async def refuse(_requests: Any, context: Any) -> NoReturn:
            sentence = f"The local stand-in does not implement {method} of {api}."
            await _abort(context, Refusal(grpc.StatusCode.UNIMPLEMENTED, sentence))

        return grpc.stream_stream_rpc_method_handler(refuse)


def _call(stand_in: str, method: str, context: Any) -> Call:
    metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    left = context.time_remaining()
    # without a deadline gRPC reports the distance to the end of time
    return Call(stand_in, method, metadata, left if left is not None and left < 10**9 else None)


async def _until_quiet(requests: Any) -> None:
    """Read what the client is still sending, while it does.

    grpc.aio's client shows INTERNAL ("Internal error from Core") instead of the status when a call ends during one of
    its writes. Over a network the two hardly meet; on one machine they often do.
    """
    if not hasattr(requests, "__anext__"):
        return
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_LONGEST_QUIETING_SECONDS):
            while True:
                await asyncio.wait_for(anext(requests), _QUIET_SECONDS)


async def _abort(context: Any, refusal: Refusal) -> NoReturn:
    await context.abort(refusal.code, refusal.sentence, refusal.trailing_metadata())
    raise AssertionError("unreachable: abort raises")


def log_calls_to_stdout() -> None:
    """One JSON line a call, for a process whose output is its log."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
