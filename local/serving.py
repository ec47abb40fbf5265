"""HTTP servers that share one process and one end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from local.places import HOST

# What the one stand-in that speaks WebSocket takes: a frame that is longer closes the connection with 1009.
LONGEST_FRAME_BYTES = 1_000_000


class _PartOfAProcess(uvicorn.Server):
    """Leaves the signals to the process that it is a part of."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def http_server(app: ASGIApp, port: int, websockets: type[asyncio.Protocol] | None = None) -> uvicorn.Server:
    """A server on the loopback interface; `serve()` runs it until `should_exit` is set.

    `websockets` is the protocol that speaks them, where they are spoken at all; it sends no pings of its own.
    """
    config = uvicorn.Config(
        app,
        host=HOST,
        port=port,
        http="h11",
        ws=websockets or "none",
        ws_max_size=LONGEST_FRAME_BYTES,
        ws_ping_interval=None,
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=2,
        # Longer than any client keeps an idle connection: whoever closes first must be the one who would use it next.
        timeout_keep_alive=75,
        proxy_headers=False,
        server_header=False,
    )
    return _PartOfAProcess(config)


async def until_told_to_stop() -> None:
    """Return when the process is asked to end (SIGTERM or SIGINT)."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await told.wait()
