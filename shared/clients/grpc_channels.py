"""One gRPC channel for each endpoint and event loop, shared by the Google clients of this process."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import grpc.aio

_OPTIONS = (
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
    ("grpc.max_send_message_length", 32 * 1024 * 1024),
)
_channels: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, grpc.aio.Channel]] = WeakKeyDictionary()


def plain_channel(endpoint: str) -> grpc.aio.Channel:
    """A channel without TLS to an `http://` endpoint."""
    channels = _channels.setdefault(asyncio.get_running_loop(), {})
    channel = channels.get(endpoint)
    if channel is None:
        channel = grpc.aio.insecure_channel(urlsplit(endpoint).netloc, options=_OPTIONS)
        channels[endpoint] = channel
    return channel


def transport_arguments(endpoint: str) -> dict[str, Any]:
    """What a generated Google transport takes to reach `endpoint`: a plain channel, or a host with credentials."""
    if endpoint.startswith("http://"):
        return {"channel": plain_channel(endpoint)}
    return {"host": urlsplit(endpoint).netloc}
