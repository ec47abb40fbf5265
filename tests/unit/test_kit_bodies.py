"""Limits on bodies hold while they are read, not after."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import kit

JSON = ("Content-Type", "application/json")
PIECE = b"x" * 100


def endless(size: int) -> Iterator[bytes]:
    for _ in range(size // len(PIECE)):
        yield PIECE


@pytest.mark.parametrize(("method", "headers"), [("POST", [JSON]), ("PATCH", [])])
async def test_a_stream_that_passes_the_limit_is_refused_before_it_has_been_read(
    kit_environment: pytest.MonkeyPatch, method: str, headers: list[tuple[str, str]]
) -> None:
    offered = 100 * kit.LIMIT_BYTES
    spoken = await kit.speak(kit.sample().asgi, method, "/v1/things/a", endless(offered), headers)
    assert (spoken.status, spoken.document["code"]) == (413, "body_too_large")
    assert spoken.taken_bytes <= kit.LIMIT_BYTES + len(PIECE)


async def test_a_declared_length_over_the_limit_is_refused_unread(kit_environment: pytest.MonkeyPatch) -> None:
    headers = [JSON, ("Content-Length", str(kit.LIMIT_BYTES + 1))]
    spoken = await kit.speak(kit.sample().asgi, "POST", "/v1/things/a", endless(kit.LIMIT_BYTES * 2), headers)
    assert (spoken.status, spoken.taken_bytes) == (413, 0)


async def test_a_declared_length_that_lies_does_not_lift_the_limit(kit_environment: pytest.MonkeyPatch) -> None:
    headers = [("Content-Length", "10")]
    spoken = await kit.speak(kit.sample().asgi, "PATCH", "/v1/things/a", endless(kit.LIMIT_BYTES * 2), headers)
    assert spoken.status == 413


async def test_a_body_of_exactly_the_limit_is_taken(kit_environment: pytest.MonkeyPatch) -> None:
    spoken = await kit.speak(kit.sample().asgi, "PATCH", "/v1/things/a", endless(kit.LIMIT_BYTES))
    assert (spoken.status, spoken.document) == (200, {"size": kit.LIMIT_BYTES})
