"""A conversation held directly with the database: turns opened, closed and interrupted by their SQL functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from tests.support.database import DatabasePerson, Refusal

ROUTE = "POST /v1/sessions/{session_id}/turns"
REPLY = "Hello Ada. How are you today?"
# Two sentences, each of a second.
PIECES = [
    {"seq": 0, "start_ms": 0, "end_ms": 1000, "chars_start": 0, "chars_end": 10},
    {"seq": 1, "start_ms": 1000, "end_ms": 2000, "chars_start": 11, "chars_end": 29},
]


@dataclass
class Talk:
    """A person in a session of theirs."""

    person: DatabasePerson
    session: str
    turn_id: str = field(default_factory=lambda: str(uuid4()))

    def open(self, *, turn_id: str | None = None, key: str | None = None, lease: int = 60, **more: Any) -> Any:
        parameters = {
            "p_entry": self.person.database.entry(ROUTE, key=key), "p_session_id": self.session,
            "p_turn_id": turn_id or self.turn_id, "p_kind": "voice", "p_capability_hash": None, "p_history": 20,
            "p_lease_seconds": lease,
        }  # fmt: skip
        return self.person.call("open_turn", **(parameters | more))

    def close(self, outcome: dict[str, Any] | None = None, turn_id: str | None = None) -> Any:
        return self.person.serve(
            "close_turn", {"route": ROUTE}, p_turn_id=turn_id or self.turn_id, p_outcome=outcome or completed()
        )

    def interrupt(self, seq: int, milliseconds: int) -> Any:
        return self.person.serve(
            "interrupt_turn",
            p_session_id=self.session,
            p_turn_id=self.turn_id,
            p_played_seq=seq,
            p_played_ms=milliseconds,
        )

    def turn(self, turn_id: str | None = None) -> Any:
        return self.person.serve("get_turn", p_session_id=self.session, p_turn_id=turn_id or self.turn_id)

    def messages(self) -> list[dict[str, Any]]:
        """Oldest first."""
        items: list[dict[str, Any]] = self.person.serve("list_messages", p_session_id=self.session, p_limit=100)[
            "items"
        ]
        return items[::-1]

    def refused(self, call: Any) -> Refusal:
        with pytest.raises(Refusal) as raised:
            call()
        return raised.value

    def lapse(self) -> None:
        """Let the lease of every running turn and claim run out."""
        past = "set lease_until = now() - interval '1 s' where user_id = %s"
        self.person.database.run("update public.turns " + past, self.person.id)
        self.person.database.run("update public.idempotency_keys " + past, self.person.id)


def usage(cost: int | None = 7) -> dict[str, Any]:
    return {
        "id": str(uuid4()), "kind": "thinking", "provider": "google", "unit": "output_tokens", "quantity": 12,
        "cost_micros": cost,
    }  # fmt: skip


def completed(reply: str = REPLY, **changes: Any) -> dict[str, Any]:
    return {
        "status": "completed", "code": None, "problem": None, "fingerprint": "a" * 64,
        "user_message": {"id": str(uuid4()), "text": "Hi", "kind": "voice", "voice": {"confidence": 0.9}},
        "assistant_message": {"id": str(uuid4()), "text": reply, "state": "complete"},
        "usage": [usage()], "cost_micros": 7, "timings_ms": {"total": 900}, "speech": {"pieces": PIECES},
        "title": "Greetings", "result": {"reply": reply, "interrupted": False, "audio": None}, "http_status": 201,
    } | changes  # fmt: skip


def failed(**changes: Any) -> dict[str, Any]:
    return completed(
        status="failed", code="no_speech", problem={"code": "no_speech", "status": 422}, user_message=None,
        assistant_message=None, usage=[], cost_micros=None, result=None, speech=None, title=None, http_status=422,
    ) | changes  # fmt: skip
