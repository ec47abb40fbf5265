"""The one declaration of a function. Terraform, the gateway, the OpenAPI document and the local cloud all read it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeVar

from fastapi import FastAPI
from starlette.requests import Request
from starlette.types import ASGIApp

from shared.http.application import build_application
from shared.http.json_bodies import StrictRoute
from shared.http.settings import HttpSettings, TokenSettings
from shared.runtime.errors import ConfigurationError, TooLarge
from shared.runtime.fleet import FleetSettings
from shared.runtime.settings import Settings, load
from shared.runtime.visit import FleetCost, Rate

Idempotency = Literal["none", "accepted", "required"]
Handler = TypeVar("Handler", bound=Callable[..., Any])

KIB, MIB = 1024, 1024 * 1024


class Caller(StrEnum):
    """Who may call an operation. Everything but EVERYONE is proven by a credential that the kit checks."""

    EVERYONE = "everyone"
    PERSON = "person"
    ADMINISTRATOR = "administrator"
    QUEUE = "queue"
    SCHEDULER = "scheduler"
    PROVIDER = "provider"
    CAPABILITY = "capability"


_TOKEN_CALLERS = frozenset({Caller.PERSON, Caller.ADMINISTRATOR})
# Whom the gateway lets through to nobody: they call the functions at their own addresses.
BACKGROUND_CALLERS = frozenset({Caller.QUEUE, Caller.SCHEDULER})


@dataclass(frozen=True)
class Queue:
    """The queue that calls an operation (https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues).

    A task is given up after `attempts`, or later, after `retry_seconds` where those are more than 0. Pauses begin at
    `min_backoff_seconds`, double `doublings` times, then grow evenly up to `max_backoff_seconds`. `deadline_seconds`
    is what whoever makes a task gives it as dispatch deadline: 15 s to 30 min, and no less than the function's timeout.
    """

    name: str
    dispatches_per_second: float = 10.0
    concurrent_dispatches: int = 10
    attempts: int = 10
    retry_seconds: int = 0
    min_backoff_seconds: float = 1.0
    max_backoff_seconds: float = 300.0
    doublings: int = 8
    deadline_seconds: int = 600


@dataclass(frozen=True)
class Schedule:
    """When the scheduler calls an operation; the job's name is the last part of the operation's path.

    `cron` are the five fields of unix-cron, on the wall clock of `zone`. `deadline_seconds` is 15 s to 30 min, and no
    less than the function's timeout; `retries` 0 to 5, with pauses of `min_backoff_seconds` and more.
    """

    cron: str
    zone: str = "Etc/UTC"
    deadline_seconds: int = 60
    retries: int = 0
    min_backoff_seconds: int = 5


@dataclass(frozen=True)
class Operation:
    """One method of a function's path.

    `max_body_bytes` is enforced while the body is read; `too_large` makes what is said of a body that announces more.
    `rate` is each person's limit, or each address' where nobody is signed in. `fleet` is what a call takes from the
    project-wide quotas before anything is spent. `token_seconds` is how long the access token must still be good for:
    work that ends with a write as the person fails at its very end without it. `queue` or `schedule` is what calls an
    operation for the caller of that name.
    """

    method: str
    path: str
    caller: Caller
    summary: str
    idempotency: Idempotency = "none"
    streams: bool = False
    max_body_bytes: int = 64 * KIB
    rate: Rate | None = None
    fleet: tuple[FleetCost, ...] = ()
    too_large: Callable[[], TooLarge] | None = None
    token_seconds: int = 0
    queue: Queue | None = None
    schedule: Schedule | None = None

    @property
    def route(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class Function:
    """One deployable function: a path template, its operations, and what it needs to run.

    `server_calls` lists the SQL functions it may call with the server key; `settings` what it reads from the
    environment, validated before it serves; `secrets` the environment variables that come from Secret Manager.
    """

    name: str
    path: str
    settings: Sequence[type[Settings]] = ()
    server_calls: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    memory_mb: int = 512
    cpu: float = 1
    concurrency: int = 80
    timeout_seconds: int = 30
    min_instances: int = 0
    source: Path = field(default_factory=Path)
    operations: list[Operation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._fastapi = FastAPI(
            title="Oprina",
            version="1",
            openapi_url=None,
            docs_url=None,
            redoc_url=None,
            # A path with a slash too many is another path, and an answer leads nobody to an address from their headers.
            redirect_slashes=False,
            telemetry={"tracing": False},
        )
        self._fastapi.router.route_class = StrictRoute
        self._application: ASGIApp | None = None

    def operation(self, operation: Operation, **options: Any) -> Callable[[Handler], Handler]:
        """Declare an operation and the handler that serves it. `options` go to FastAPI's route as they are.

        What the queue or the scheduler calls lets nobody else in, whether or not its handler asks who is calling.
        """
        self.operations.append(operation)
        if operation.caller in BACKGROUND_CALLERS:
            from shared.http.callers import only

            options["dependencies"] = [*options.get("dependencies", ()), only(operation.caller)]

        def register(handler: Handler) -> Handler:
            with _without_pydantic_v1():
                self._fastapi.add_api_route(
                    operation.path,
                    handler,
                    methods=[operation.method],
                    summary=operation.summary,
                    max_body_size=operation.max_body_bytes,
                    operation_id=f"{self.name}-{operation.method}".lower().replace("-", "_"),
                    response_model_exclude_none=False,
                    **options,
                )
            return handler

        return register

    def get(self, summary: str, *, caller: Caller, **options: Any) -> Callable[[Handler], Handler]:
        return self._method("GET", summary, caller, options)

    def post(self, summary: str, *, caller: Caller, **options: Any) -> Callable[[Handler], Handler]:
        return self._method("POST", summary, caller, options)

    def patch(self, summary: str, *, caller: Caller, **options: Any) -> Callable[[Handler], Handler]:
        return self._method("PATCH", summary, caller, options)

    def delete(self, summary: str, *, caller: Caller, **options: Any) -> Callable[[Handler], Handler]:
        return self._method("DELETE", summary, caller, options)

    def _method(
        self, method: str, summary: str, caller: Caller, options: dict[str, Any]
    ) -> Callable[[Handler], Handler]:
        own = {name: options.pop(name) for name in _OPERATION_FIELDS if name in options}
        return self.operation(Operation(method, self.path, caller, summary, **own), **options)

    @property
    def required_settings(self) -> tuple[type[Settings], ...]:
        """What the function reads from its environment: its own settings, and the kit's as far as it uses them."""
        kinds: list[type[Settings]] = [HttpSettings]
        if any(operation.caller in _TOKEN_CALLERS for operation in self.operations):
            kinds.append(TokenSettings)
        if any(operation.fleet for operation in self.operations):
            kinds.append(FleetSettings)
        return tuple(dict.fromkeys([*kinds, *self._settings_of_background_callers(), *self.settings]))

    def _settings_of_background_callers(self) -> tuple[type[Settings], ...]:
        callers = {operation.caller for operation in self.operations} & BACKGROUND_CALLERS
        if not callers:
            return ()
        # Most functions have nobody to check in this way, and are spared the modules.
        from shared.http.callers import QUEUE_SETTINGS, SCHEDULER_SETTINGS

        return tuple(
            kind
            for caller, kinds in ((Caller.QUEUE, QUEUE_SETTINGS), (Caller.SCHEDULER, SCHEDULER_SETTINGS))
            if caller in callers
            for kind in kinds
        )

    @property
    def public(self) -> bool:
        """Whether the gateway has any of its operations."""
        return any(operation.caller not in BACKGROUND_CALLERS for operation in self.operations)

    @property
    def fastapi(self) -> FastAPI:
        """The inner application; the catalogue reads its OpenAPI document."""
        return self._fastapi

    @property
    def asgi(self) -> ASGIApp:
        """The whole application as it is served: the kit around the handlers."""
        if self._application is None:
            self._application = build_application(self._fastapi, self.name, self.operations)
        return self._application

    def entry_point(self) -> Callable[[Request], Any]:
        """The target that functions-framework calls. Settings are read here, before anything is served.

        Raises:
            ConfigurationError: naming every variable that is missing or wrong.
        """
        # The framework costs imports that a process reading only the declarations does not need.
        import functions_framework.aio

        from shared.http.discovery import only_declaring

        if not only_declaring():
            self._read_settings()

        # An ASGI application is a response to the framework: it is called with the scope, which it reads itself.
        async def main(request: Request) -> Any:  # noqa: ARG001
            return self.asgi

        return functions_framework.aio.http(main)

    def _read_settings(self) -> None:
        problems: list[str] = []
        for kind in self.required_settings:
            try:
                load(kind)
            except ConfigurationError as error:
                problems += error.problems
        if problems:
            raise ConfigurationError(list(dict.fromkeys(problems)))


@contextmanager
def _without_pydantic_v1() -> Iterator[None]:
    """Keep FastAPI from loading pydantic's version 1, which it does only to refuse models of that version.

    It takes an ImportError for a no. That spares each cold start 23 modules and some 20 ms.
    """
    name = "pydantic.v1"
    if name in sys.modules:
        yield
        return
    # None in this place makes an import fail: https://docs.python.org/3/reference/import.html#the-module-cache
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


_OPERATION_FIELDS = (
    "idempotency",
    "streams",
    "max_body_bytes",
    "rate",
    "fleet",
    "too_large",
    "token_seconds",
    "queue",
    "schedule",
)
