"""Avatar time at the database: what a person and the provider's news do to it, and the books that must balance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tests.support.database import Database, DatabasePerson, hash_of

ENDED = frozenset({"settled", "released"})


@dataclass
class Books:
    """What each place says of a person's period that runs, in seconds."""

    allowance: int
    used: int
    reserved: int
    carried: int
    settled_sessions: int
    open_sessions: int
    ledger: int

    @property
    def balanced(self) -> bool:
        return (
            self.used == self.settled_sessions + self.carried
            and self.reserved == self.open_sessions
            and self.ledger == self.settled_sessions
        )


class AvatarTime:
    def __init__(self, person: DatabasePerson) -> None:
        self.person, self.database = person, person.database

    def reserve(self, seconds: int = 900, *, key: str | None = None, at_least: int = 1) -> dict[str, Any]:
        """A reservation, with the `token` that begins it. The same key gives the same token."""
        key = key or str(uuid4())
        token = f"{self.person.id}.{key}"
        entry = self.database.entry("POST /v1/avatars/sessions", key=key, fingerprint=f"{seconds}")
        answer = self.person.call(
            "reserve_avatar_session", p_entry=entry, p_id=str(uuid4()), p_token_hash=hash_of(token),
            p_wanted={"avatar_id": "june", "quality": None, "language": "en"}, p_seconds=seconds, p_begin_seconds=60,
            p_at_least=at_least,
        )  # fmt: skip
        replay = answer["entry"]["replay"]
        return {**(replay["body"] if replay else answer["data"]), "token": token, "replayed": bool(replay)}

    def by_token(self, function: str, token: str) -> dict[str, Any]:
        answer = self.database.call(function, p_entry=self.database.entry(), p_token_hash=hash_of(token))
        data: dict[str, Any] = answer["data"]
        return data

    def live(self, seconds: int = 900) -> dict[str, Any]:
        """A session that runs at the provider."""
        session = self.reserve(seconds)
        self.by_token("begin_avatar_session", session["token"])
        return {**session, **self.start(session["id"])}

    def start(self, session_id: str) -> dict[str, Any]:
        data: dict[str, Any] = self.database.call(
            "start_avatar_session", p_session_id=session_id, p_provider_session_id=f"provider-{session_id}"
        )
        return data

    def settle(self, session_id: str, seconds: int) -> dict[str, Any]:
        data: dict[str, Any] = self.database.call(
            "settle_avatar_session", p_session_id=session_id, p_provider_seconds=seconds
        )
        return data

    def release(self, session_id: str, *, never_ran: bool = False) -> dict[str, Any]:
        data: dict[str, Any] = self.database.call(
            "release_avatar_session", p_session_id=session_id, p_never_ran=never_ran
        )
        return data

    def quota(self) -> dict[str, Any]:
        data: dict[str, Any] = self.person.serve("get_avatar_quota")
        return data

    def end_period(self) -> None:
        """Move the clock to the end of the person's period, by moving that end to now."""
        self.database.run(
            "update public.avatar_quotas set resets_at = clock_timestamp() where user_id = %s", self.person.id
        )

    def books(self) -> Books:
        return books(self.database, self.person.id)


def books(database: Database, person_id: str) -> Books:
    """The period that runs, as the quota, the sessions and the ledger each tell it."""
    ((*row,),) = database.rows(
        "select q.limit_seconds + (select coalesce(sum(g.seconds), 0) from public.quota_grants g"
        "     where g.user_id = q.user_id"
        "     and (g.period_started_at is null or g.period_started_at = q.period_started_at)),"
        "   q.used_seconds, q.reserved_seconds, q.carried_seconds,"
        "   coalesce(sum(s.settled_seconds), 0),"
        "   coalesce(sum(s.reserved_seconds) filter (where s.status not in ('settled', 'released')), 0),"
        "   (select coalesce(sum(e.quantity), 0) from public.usage_events e"
        "     join public.avatar_sessions b on b.id = e.avatar_session_id where e.unit = 'seconds'"
        "     and b.user_id = q.user_id and b.period_started_at = q.period_started_at)"
        " from public.avatar_quotas q left join public.avatar_sessions s"
        "   on s.user_id = q.user_id and s.period_started_at = q.period_started_at"
        " where q.user_id = %s group by q.user_id",
        person_id,
    )
    return Books(*(int(value) for value in row))
