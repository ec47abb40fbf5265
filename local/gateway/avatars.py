"""The console's page of the providers of avatars: what they keep on disk, read beside them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from local.heygen.database import FILE
from local.heygen.models import NewVideo
from local.liveavatar.account import read_sessions
from local.liveavatar.metering import Session
from local.places import Places

SHOWN: Final = 50


class AvatarShelf:
    """Everything here is as it was written last; whoever asks the provider itself settles it first."""

    def __init__(self, places: Places) -> None:
        self._live = places.liveavatar_file
        self._studio = places.heygen_folder / FILE

    def page(self) -> dict[str, Any]:
        """What `avatars.html` shows: the newest of each kind, newest first."""
        return self._live_page() | self._studio_page()

    def _live_page(self) -> dict[str, Any]:
        with _opened(self._live) as database:
            if database is None:
                return {"sessions": [], "credits": None}
            credit = database.execute("select value from account where name = 'credits_left'").fetchone()
            now = datetime.now(UTC).timestamp()
            found = read_sessions(database, "order by ordinal desc limit ?", (SHOWN,))
            return {"sessions": [_session(session, now) for session in found], "credits": json.loads(credit[0])}

    def _studio_page(self) -> dict[str, Any]:
        with _opened(self._studio) as database:
            if database is None:
                return {"videos": [], "webhooks": [], "balance": None}
            balance = database.execute("select value from account where name = 'balance_micros'").fetchone()
            videos = database.execute("select * from videos order by ordinal desc limit ?", (SHOWN,)).fetchall()
            deliveries = database.execute(
                "select d.*, e.type from deliveries d join events e on e.id = d.event_id"
                " order by d.ordinal desc limit ?",
                (SHOWN,),
            ).fetchall()
            return {
                "videos": [_video(row) for row in videos],
                "webhooks": [dict(row) for row in deliveries],
                "balance": json.loads(balance[0]) / 1_000_000,
            }


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection | None]:
    """A reader's connection; None where the stand-in has not started yet."""
    if not file.exists():
        yield None
        return
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        try:
            database.execute("select 1 from account").fetchone()
        except sqlite3.OperationalError:
            yield None
            return
        yield database


def _session(session: Session, now: float) -> dict[str, Any]:
    state = "minted" if session.started_at is None else "active" if session.active else session.end_reason
    return {
        "id": session.id,
        "state": state,
        "mode": session.mode,
        "created_at": _written(session.created_at),
        "seconds": session.duration(now),
        "most": session.max_session_duration,
        "credits": session.credits_consumed,
    }


def _video(row: sqlite3.Row) -> dict[str, Any]:
    asked = NewVideo.model_validate_json(row["asked"])
    return {
        "id": row["id"],
        "title": asked.title or (asked.script or "a recording")[:60],
        "status": row["status"],
        "created_at": _written(row["created_at"]),
        "seconds": row["duration"],
        "dollars": row["micros"] / 1_000_000,
        "failure": row["failure_message"],
    }


def _written(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")
