"""The videos of the account: what was asked for, how far it is, and what it cost."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from local.heygen import catalogue
from local.heygen.database import Database
from local.heygen.drawing import GIF, THUMBNAIL, VIDEO, captions
from local.heygen.links import link
from local.heygen.models import NewVideo
from local.heygen.refusals import Refused, not_found
from local.heygen.settings import MICROS_PER_SECOND
from local.heygen.webhooks import Webhooks

CAPTIONS: Final = "captions.srt"
# A row's own states. `queued` is an item of a batch for which there is no room yet.
QUEUED, WAITING, COMPLETED, FAILED = "queued", "waiting", "completed", "failed"
_BUSY_RETRY_SECONDS: Final = 10
# The first part of a render shows as `pending`.
_PENDING_SHARE: Final = 0.3


class Videos:
    def __init__(self, database: Database, webhooks: Webhooks, base: str, now: Callable[[], float]) -> None:
        """`base` is the address under which files are found; `now` gives seconds since the epoch."""
        self._db = database
        self._webhooks = webhooks
        self._base = base
        self._now = now

    def submit(self, asked: NewVideo) -> str:
        """Begin a video. Returns its id.

        Raises:
            Refused: too many are being made (429), the wallet is empty (402), or what was asked for is not there.
        """
        self.check(asked)
        if self.rendering() >= self._db.get("concurrency"):
            raise Refused(429, "rate_limit_exceeded", "Too many videos are being made.", None, _BUSY_RETRY_SECONDS)
        if self._db.get("balance_micros") <= 0:
            raise Refused(402, "insufficient_credit", "Your wallet is empty.")
        return self._keep(asked, WAITING)

    def submit_batch(self, asked: Iterable[NewVideo | Refused], title: str | None, callback_url: str | None) -> str:
        """Begin all, each when there is room. What was refused is kept as a failed item."""
        items = list(asked)
        batch_id = uuid4().hex
        with self._db.at_once():
            self._db.run(
                "insert into batches (id, title, callback_url, created_at, items) values (?, ?, ?, ?, ?)",
                batch_id, title, callback_url, self._now(), len(items),
            )  # fmt: skip
            for index, item in enumerate(items):
                if isinstance(item, Refused):
                    error = json.dumps(item.content()["error"])
                    self._db.run("insert into batch_errors values (?, ?, ?)", batch_id, index, error)
                else:
                    self._keep(item, QUEUED, batch_id, index)
            self._end_batch(batch_id)
        return batch_id

    def check(self, asked: NewVideo) -> None:
        """Raises Refused for a look, an engine, a voice or an asset that is not there."""
        look = catalogue.look(asked.avatar_id)
        if look is None:
            raise not_found("avatar")
        if asked.engine.type not in look.engines:
            raise Refused(400, "avatar_not_usable", f"{look.id} does not support {asked.engine.type}.", "engine")
        voice = asked.voice_id or look.default_voice
        if asked.script is not None and voice not in catalogue.VOICES:
            raise Refused(400, "voice_unavailable", "This voice does not exist.", "voice_id")
        asset = asked.audio_asset_id
        if asset is not None and self._db.row("select id from assets where id = ?", asset) is None:
            raise not_found("asset")

    def rendering(self) -> int:
        row = self._db.row("select count(*) as number from videos where status = ?", WAITING)
        assert row is not None
        return int(row["number"])

    def admit_queued(self) -> None:
        """Begin items of batches while there is room."""
        room = self._db.get("concurrency") - self.rendering()
        for row in self._db.rows(
            "select id from videos where status = ? order by ordinal limit ?", QUEUED, max(room, 0)
        ):
            due_at = self._now() + self._db.get("render_seconds")
            self._db.run("update videos set status = ?, due_at = ? where id = ?", WAITING, due_at, row["id"])

    def due(self) -> list[tuple[str, NewVideo]]:
        rows = self._db.rows(
            "select id, asked from videos where status = ? and due_at <= ? order by ordinal", WAITING, self._now()
        )
        return [(row["id"], NewVideo.model_validate_json(row["asked"])) for row in rows]

    def folder(self, video_id: str) -> Path:
        return self._db.folder / "videos" / video_id

    def completed(self, video_id: str, asked: NewVideo, seconds: float) -> None:
        """The files are there: charge for them, and tell. Nothing where the video was deleted meanwhile."""
        if asked.caption is not None:
            (self.folder(video_id) / CAPTIONS).write_text(captions(asked.script or "", seconds))
        micros = round(seconds * MICROS_PER_SECOND[asked.engine.type])
        with self._db.at_once():
            changed = self._db.run(
                "update videos set status = ?, completed_at = ?, duration = ?, micros = ? where id = ? and status = ?",
                COMPLETED, self._now(), seconds, micros, video_id, WAITING,
            )  # fmt: skip
            if changed.rowcount:
                self._db.change({"balance_micros": max(self._db.get("balance_micros") - micros, 0)})
                row = self._row(video_id)
                links = self._links(row, asked)
                page = f"{self._base}/videos/{video_id}"
                data = {"video_id": video_id, "url": links["video_url"], "gif_download_url": links["gif_url"]}
                data |= {"video_page_url": page, "video_share_page_url": page, "folder_id": asked.folder_id}
                self._tell("avatar_video.success", row, asked, data)

    def failed(self, video_id: str, asked: NewVideo, code: str, message: str) -> None:
        """It could not be made, and costs nothing."""
        with self._db.at_once():
            changed = self._db.run(
                "update videos set status = ?, completed_at = ?, failure_code = ?, failure_message = ?"
                " where id = ? and status = ?",
                FAILED, self._now(), code, message, video_id, WAITING,
            )  # fmt: skip
            if changed.rowcount:
                data = {"video_id": video_id, "failure_code": code, "failure_message": message, "msg": message}
                self._tell("avatar_video.fail", self._row(video_id), asked, data)

    def delete(self, video_id: str) -> None:
        """Raises Refused (404) for one that is not there."""
        row = self._row(video_id)
        with self._db.at_once():
            self._db.run("delete from videos where id = ?", video_id)
            if row["batch_id"] is not None and row["status"] in {QUEUED, WAITING}:
                gone = json.dumps(not_found("video").content()["error"])
                self._db.run("insert into batch_errors values (?, ?, ?)", row["batch_id"], row["item_index"], gone)
                self._end_batch(row["batch_id"])
        shutil.rmtree(self.folder(video_id), ignore_errors=True)

    def described(self, video_id: str) -> dict[str, Any]:
        """A video with fresh links. Raises Refused (404)."""
        return self._described(self._row(video_id))

    def listed(
        self, limit: int, before: int | None, folder_id: str | None, title: str | None
    ) -> tuple[list[dict[str, Any]], int | None]:
        """One page, newest first, and where the next begins."""
        rows = self._db.rows(
            "select * from videos where ordinal < coalesce(?1, ordinal + 1)"
            " and (?2 is null or json_extract(asked, '$.folder_id') = ?2)"
            " and instr(lower(coalesce(json_extract(asked, '$.title'), '')), lower(coalesce(?3, ''))) > 0"
            " order by ordinal desc limit ?4",
            before, folder_id, title, limit + 1,
        )  # fmt: skip
        following = rows[limit - 1]["ordinal"] if len(rows) > limit else None
        return [self._described(row) for row in rows[:limit]], following

    def statuses(self, video_ids: Iterable[str], batch_ids: Iterable[str]) -> tuple[list[dict[str, Any]], list[str]]:
        """The videos of these ids and batches, and the ids of which there is nothing."""
        found: list[sqlite3.Row] = []
        missing: list[str] = []
        for video_id in video_ids:
            rows = self._db.rows("select * from videos where id = ?", video_id)
            found += rows
            missing += [] if rows else [video_id]
        for batch_id in batch_ids:
            if self._db.row("select id from batches where id = ?", batch_id) is None:
                missing.append(batch_id)
            found += self._db.rows("select * from videos where batch_id = ? order by item_index", batch_id)
        return [self._described(row) for row in {row["id"]: row for row in found}.values()], missing

    def batch(self, batch_id: str, limit: int, first: int) -> tuple[dict[str, Any], int | None]:
        """A batch with one page of its items, and where the next begins. Raises Refused (404)."""
        batch = self._db.row("select * from batches where id = ?", batch_id)
        if batch is None:
            raise not_found("batch")
        items = self._items(batch_id)
        counts = dict.fromkeys(("queued", "processing", "completed", "failed"), 0)
        for item in items:
            counts[item["status"]] += 1
        page = items[first : first + limit]
        following = first + limit if len(items) > first + limit else None
        content = {"batch_id": batch_id, "title": batch["title"], "status": _batch_status(counts)}
        content |= {"counts_by_status": counts, "total_items": batch["items"], "items": page}
        return content, following

    def all(self, limit: int) -> list[dict[str, Any]]:
        return self.listed(limit, None, None, None)[0]

    def _items(self, batch_id: str) -> list[dict[str, Any]]:
        items: dict[int, dict[str, Any]] = {}
        for row in self._db.rows("select * from batch_errors where batch_id = ?", batch_id):
            index = row["item_index"]
            items[index] = {"item_index": index, "status": "failed", "error": json.loads(row["error"])}
        for row in self._db.rows("select * from videos where batch_id = ?", batch_id):
            index = row["item_index"]
            status = "processing" if row["status"] == WAITING else row["status"]
            items[index] = {"item_index": index, "status": status, "video_id": row["id"]}
            if row["status"] == FAILED:
                items[index]["error"] = {"code": row["failure_code"], "message": row["failure_message"]}
        return [items[index] for index in sorted(items)]

    def _keep(self, asked: NewVideo, status: str, batch_id: str | None = None, index: int | None = None) -> str:
        now = self._now()
        video_id = uuid4().hex
        due_at = now + self._db.get("render_seconds") if status == WAITING else None
        self._db.run(
            "insert into videos (id, status, asked, created_at, due_at, batch_id, item_index)"
            " values (?, ?, ?, ?, ?, ?, ?)",
            video_id, status, asked.model_dump_json(), now, due_at, batch_id, index,
        )  # fmt: skip
        return video_id

    def _tell(self, kind: str, row: sqlite3.Row, asked: NewVideo, data: dict[str, Any]) -> None:
        self._webhooks.emit(kind, row["id"], data | {"callback_id": asked.callback_id}, asked.callback_url)
        if row["batch_id"] is not None:
            self._end_batch(row["batch_id"])

    def _end_batch(self, batch_id: str) -> None:
        """Tell once that everything of a batch is over."""
        items = self._items(batch_id)
        if any(item["status"] in {"queued", "processing"} for item in items):
            return
        ended = self._db.run("update batches set finished = 1 where id = ? and not finished", batch_id)
        batch = self._db.row("select * from batches where id = ?", batch_id)
        if ended.rowcount and batch is not None:
            good = sum(item["status"] == "completed" for item in items)
            data = {"batch_id": batch_id, "total_items": len(items), "completed": good, "failed": len(items) - good}
            self._webhooks.emit("batch.finished", batch_id, data, batch["callback_url"])

    def _row(self, video_id: str) -> sqlite3.Row:
        row = self._db.row("select * from videos where id = ?", video_id)
        if row is None:
            raise not_found("video")
        return row

    def _described(self, row: sqlite3.Row) -> dict[str, Any]:
        asked = NewVideo.model_validate_json(row["asked"])
        ready = row["status"] == COMPLETED
        content = {
            "id": row["id"],
            "title": asked.title,
            "status": self._shown(row),
            "created_at": _written(row["created_at"]),
            "completed_at": _written(row["completed_at"]),
            "duration": row["duration"],
            "video_page_url": f"{self._base}/videos/{row['id']}" if ready else None,
            "folder_id": asked.folder_id,
            "callback_id": asked.callback_id,
            "output_language": "en",
            "failure_code": row["failure_code"],
            "failure_message": row["failure_message"],
        }
        return content | self._links(row, asked)

    def _shown(self, row: sqlite3.Row) -> str:
        if row["status"] == QUEUED:
            return "pending"
        if row["status"] != WAITING:
            return str(row["status"])
        whole = row["due_at"] - row["created_at"]
        early = self._now() < row["created_at"] + _PENDING_SHARE * whole
        return "pending" if early else "processing"

    def _links(self, row: sqlite3.Row, asked: NewVideo) -> dict[str, str | None]:
        if row["status"] != COMPLETED:
            return dict.fromkeys(("video_url", "captioned_video_url", "subtitle_url", "thumbnail_url", "gif_url"))
        expires_at = int(self._now()) + self._db.get("link_seconds")

        def to(name: str) -> str:
            return link(self._base, self._db.get("link_key"), f"/files/{row['id']}/{name}", expires_at)

        return {
            "video_url": to(f"{VIDEO}.{asked.output_format}"),
            "captioned_video_url": None,
            "subtitle_url": to(CAPTIONS) if asked.caption is not None else None,
            "thumbnail_url": to(THUMBNAIL),
            "gif_url": to(GIF),
        }


def _batch_status(counts: dict[str, int]) -> str:
    if counts["queued"] or counts["processing"]:
        return "processing"
    return "completed" if counts["completed"] else "failed"


def _written(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")
