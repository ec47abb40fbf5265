"""The public bucket of the local cloud: objects that anybody may read, such as the keys that verify our tokens."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

CACHE_CONTROL = "public, max-age=300"


def public_objects(folder: Path) -> ASGIApp:
    """Serve the JSON objects of a folder, readable from every origin and cacheable for five minutes."""

    async def read(request: Request) -> Response:
        file = _find(folder, request.path_params["name"])
        if file is None:
            return PlainTextResponse("There is no such object.", 404)
        headers = {
            "cache-control": CACHE_CONTROL,
            "access-control-allow-origin": "*",
            "x-content-type-options": "nosniff",
        }
        return FileResponse(file, media_type="application/json", headers=headers)

    return Starlette(routes=[Route("/{name:path}", read)])


def _find(folder: Path, name: str) -> Path | None:
    """The object's file; None when there is none, or when the name leads out of the folder."""
    root = folder.resolve()
    file = (root / name).resolve()
    return file if file.is_relative_to(root) and file.is_file() else None
