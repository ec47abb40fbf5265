"""Files that were uploaded, and sound that was fetched from where a video's wish said it is."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import httpx

from local.heygen.database import Database
from local.heygen.refusals import Refused, invalid, not_found
from local.heygen.settings import MAX_ASSET_BYTES, MAX_AUDIO_BYTES

_TYPES: Final = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".mp4": "video/mp4", ".webm": "video/webm",
    ".mp3": "audio/mpeg", ".wav": "audio/wav", ".pdf": "application/pdf", ".srt": "application/x-subrip",
}  # fmt: skip
_AUDIO: Final = frozenset({".mp3", ".wav"})
_DOWNLOAD_SECONDS: Final = 60


class Assets:
    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._db = database
        self._now = now

    async def keep(self, name: str, pieces: AsyncIterable[bytes]) -> dict[str, Any]:
        """Raises Refused for a kind that is not taken (400) and for what is too large (413)."""
        suffix = Path(name).suffix.lower()
        if suffix not in _TYPES:
            raise invalid(f"Files of this kind are not taken. Send one of {', '.join(sorted(_TYPES))}.", "file")
        too_large = Refused(413, "payload_too_large", "The file is larger than 32 MB.", "file")
        return await self._store(name, pieces, MAX_ASSET_BYTES, too_large)

    async def fetch(self, url: str) -> str:
        """The sound at an address as an asset. Returns its id. Raises Refused (400)."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or Path(parts.path).suffix.lower() not in _AUDIO:
            raise invalid("The address has to lead to an mp3 or wav file, and say so in its path.", "audio_url")
        failed = Refused(400, "download_failed", "The audio could not be downloaded.", "audio_url")
        too_large = invalid("The audio is larger than 50 MB.", "audio_url")
        try:
            async with (
                httpx.AsyncClient(timeout=_DOWNLOAD_SECONDS, trust_env=False) as client,
                client.stream("GET", url, follow_redirects=True) as answer,
            ):
                if not answer.is_success:
                    raise failed
                kept = await self._store(Path(parts.path).name, answer.aiter_bytes(), MAX_AUDIO_BYTES, too_large)
        except (httpx.HTTPError, httpx.InvalidURL):
            raise failed from None
        return str(kept["asset_id"])

    def described(self, asset_id: str) -> dict[str, Any]:
        row = self._db.row("select * from assets where id = ?", asset_id)
        if row is None:
            raise not_found("asset")
        return {"asset_id": row["id"], "mime_type": row["mime_type"], "size_bytes": row["size_bytes"]}

    def file(self, asset_id: str) -> Path:
        return self._folder / asset_id

    def delete(self, asset_id: str) -> None:
        self.described(asset_id)
        self._db.run("delete from assets where id = ?", asset_id)
        self.file(asset_id).unlink(missing_ok=True)

    @property
    def _folder(self) -> Path:
        return self._db.folder / "assets"

    async def _store(self, name: str, pieces: AsyncIterable[bytes], most: int, too_large: Refused) -> dict[str, Any]:
        asset_id, size = uuid4().hex, 0
        self._folder.mkdir(exist_ok=True)
        with self.file(asset_id).open("wb") as file:
            async for piece in pieces:
                size += len(piece)
                if size > most:
                    self.file(asset_id).unlink()
                    raise too_large
                file.write(piece)
        kind = _TYPES[Path(name).suffix.lower()]
        self._db.run("insert into assets values (?, ?, ?, ?, ?)", asset_id, name, kind, size, self._now())
        return self.described(asset_id)
