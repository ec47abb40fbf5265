"""Fixtures for the tests of the endpoint kit and the runtime."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from shared.runtime import logs
from shared.runtime.settings import load
from tests.support import kit


@pytest.fixture
def kit_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment of the test's own: settings are read afresh, before and after."""
    for name in ("ALLOWED_ORIGINS", "TRUSTED_HOPS", "TOKEN_ISSUER", "TOKEN_AUDIENCE", "JWKS_URL"):
        monkeypatch.delenv(name, raising=False)
    load.cache_clear()
    yield monkeypatch
    load.cache_clear()


@pytest.fixture
async def kit_client(kit_environment: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """Speaks to a fresh sample function."""
    async with kit.client(kit.sample()) as client:
        yield client


@pytest.fixture
def kit_log() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Gives the product's log lines since the test began, each read as the JSON object it must be."""
    log, written = logs.logger(), io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(log.handlers[0].formatter)
    log.addHandler(handler)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    log.removeHandler(handler)
