"""`python -m bench.upstream PORT DELAY_MS JWKS`: an upstream that does nothing but wait.

It answers every POST, after the delay, as PostgREST answers `get_me`, and every GET at once with the keys in the file
JWKS. So lean that what is measured against it is the instance that waits for it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from local.places import HOST

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def get_me() -> bytes:
    """What the database answers: nobody in particular, with plenty left of their rate."""
    now = datetime.now(UTC).isoformat()
    fields = ("full_name", "preferred_name", "display_name", "avatar_url", "work_type", "ai_preferences")
    person = dict.fromkeys([*fields, "timezone", "language"]) | {
        "id": str(uuid4()),
        "email": "somebody@oprina.test",
        "preferences": {},
        "is_admin": False,
        "email_verified_at": now,
        "created_at": now,
        "updated_at": now,
    }
    rate = {"limit": 40, "remaining": 39, "reset_seconds": 1}
    return json.dumps({"entry": {"admin": False, "rate": rate, "replay": None}, "data": person}).encode()


def _answer(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def serve(port: int, delay_seconds: float, jwks: bytes) -> None:
    person, keys = _answer(get_me()), _answer(jwks)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                announced = _LENGTH.search(head)
                await reader.readexactly(int(announced[1]) if announced else 0)
                if head.startswith(b"POST"):
                    await asyncio.sleep(delay_seconds)
                writer.write(person if head.startswith(b"POST") else keys)
        writer.close()

    server = await asyncio.start_server(answer, HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000, Path(sys.argv[3]).read_bytes()))
