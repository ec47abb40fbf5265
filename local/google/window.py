"""What the stand-in keeps, read from its file by somebody else: for the console's page. Tokens and keys stay unread."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

SHOWN: Final = 100


def people(file: Path) -> list[dict[str, Any]]:
    """Each account with its grants, newest mails and events; nobody while there is no file or no tables yet."""
    if not file.exists():
        return []
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as db:
        try:
            found = db.execute("select subject, name, email from people order by subject").fetchall()
            return [_person(db, *row) for row in found]
        except sqlite3.OperationalError:
            return []


def _person(db: sqlite3.Connection, subject: str, name: str, email: str) -> dict[str, Any]:
    grants = db.execute("select client, scopes from grants where subject = ?", (subject,))
    mails = db.execute(
        "select received_ms, words, labels from gmail_messages where subject = ? order by received_ms desc limit ?",
        (subject, SHOWN),
    )
    events = db.execute(
        "select document from events where calendar in (select id from calendars where subject = ?) limit ?",
        (subject, SHOWN),
    )
    return {
        "subject": subject,
        "name": name,
        "email": email,
        "grants": [{"client": client, "scopes": ", ".join(json.loads(scopes))} for client, scopes in grants],
        "mails": [_mail(*row) for row in mails],
        "events": [_event(json.loads(row[0])) for row in events],
    }


def _mail(received_ms: int, words: str, labels: str) -> dict[str, str]:
    said = json.loads(words)
    at = datetime.fromtimestamp(received_ms / 1000, UTC).isoformat(timespec="minutes")
    labelled = ", ".join(json.loads(labels))
    return {"received_at": at, "sender": said["sender"], "subject": said["subject"], "labels": labelled}


def _event(event: dict[str, Any]) -> dict[str, str]:
    start = event["start"]
    return {
        "start": start.get("dateTime") or start["date"],
        "summary": event.get("summary", ""),
        "status": event["status"],
        "repeats": " ".join(event.get("recurrence", [])),
    }
