"""The audit log's seals: closed hours are chained, nothing can be added to them, and whatever is changed is found."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from infra.supabase import audit
from shared.operations import service
from shared.runtime import logs
from shared.runtime.settings import load
from tests.support.database import Database, throwaway_database

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def running() -> Iterator[Database]:
    """A database of its own: sealing its hours must not shut the log to the tests of others."""
    with throwaway_database() as database:
        yield database


@pytest.fixture
def db(running: Database) -> Iterator[Database]:
    """With an empty log."""
    yield running
    tamper(running, "delete from public.audit_seals; delete from public.audit_log")


def tamper(db: Database, statements: str, *parameters: Any) -> None:
    """What only the superuser can do: change rows with every trigger disabled."""
    with psycopg.connect(db.local._cluster.administrator_url) as connection:
        connection.execute("set local session_replication_role = replica")
        connection.execute(statements.encode(), parameters or None)


def hours_ago(count: float) -> datetime:
    """The beginning of an hour that is over."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - count * HOUR


def write(
    db: Database, at: datetime, action: str = "tests.done", detail: str = "{}", request: str | None = None
) -> None:
    db.run(
        "insert into public.audit_log (id, at, actor_kind, action, detail, request_id)"
        " values (gen_random_uuid(), %s, 'system', %s, %s, %s)",
        at, action, detail, request,
    )  # fmt: skip


def seal(db: Database, limit: int = 100) -> Any:
    return db.call("seal_audit", p_limit=limit)


@dataclass(frozen=True)
class Whole:
    hours: int
    entries: int
    unsealed: int


def verified(db: Database) -> Whole:
    with psycopg.connect(db.url) as connection:
        hours, broken = audit.verify(connection)
        assert broken is None, broken
        ((entries,),) = connection.execute("select coalesce(sum(entries), 0) from public.audit_seals").fetchall()
        return Whole(hours, entries, audit.unsealed(connection))


def broken_hour(db: Database) -> datetime:
    with psycopg.connect(db.url) as connection:
        _, broken = audit.verify(connection)
    assert broken is not None
    return broken.hour


def holds(db: Database, seal: str) -> bool:
    with psycopg.connect(db.url) as connection:
        return audit.holds(connection, seal)


def three_sealed_hours(db: Database) -> list[datetime]:
    """Hours 6, 5 and 3 ago with three entries each; the fourth and the ones after the third are empty."""
    hours = [hours_ago(6), hours_ago(5), hours_ago(3)]
    for hour in hours:
        for minute in (5, 30, 59):
            write(db, hour + timedelta(minutes=minute), detail='{"turns": 1}', request="r-1")
    assert seal(db)["sealed"] == 3
    return hours


def test_closed_hours_are_sealed_in_order_and_empty_ones_leave_no_gap(db: Database) -> None:
    hours = three_sealed_hours(db)
    chain = db.rows("select number, hour, entries, previous, seal from public.audit_seals order by number")
    assert [(number, hour, entries) for number, hour, entries, *_ in chain] == [
        (1, hours[0], 3),
        (2, hours[1], 3),
        (3, hours[2], 3),
    ]
    assert [previous for *_, previous, _ in chain] == [None, chain[0][4], chain[1][4]]
    found = verified(db)
    assert (found.hours, found.entries, found.unsealed) == (3, 9, 0)


def test_an_hour_is_sealed_ten_minutes_after_its_end_and_not_before(db: Database) -> None:
    write(db, datetime.now(UTC))
    assert seal(db)["sealed"] == 0
    tamper(db, "update public.audit_log set at = %s", hours_ago(0) - timedelta(seconds=1))
    before = datetime.now(UTC)
    sealed = seal(db)["sealed"]
    assert sealed in {int(moment.minute >= 10) for moment in (before, datetime.now(UTC))}


def test_sealing_again_adds_nothing_and_goes_on_where_it_stopped(db: Database) -> None:
    for count in (8, 7, 6):
        write(db, hours_ago(count))
    assert [seal(db, limit=2)["sealed"], seal(db, limit=2)["sealed"], seal(db, limit=2)["sealed"]] == [2, 1, 0]
    write(db, hours_ago(2))
    assert seal(db)["number"] == 4
    assert verified(db).hours == 4


def test_sealers_that_come_together_make_one_chain(db: Database) -> None:
    for count in range(2, 26):
        write(db, hours_ago(count))
    with ThreadPoolExecutor(6) as pool:
        done = [each["sealed"] for each in pool.map(lambda _: seal(db, limit=5), range(6))]
    assert sum(done) == 24
    assert verified(db).hours == 24


def test_nothing_is_written_into_a_sealed_hour_nor_before_it(db: Database) -> None:
    hours = three_sealed_hours(db)
    for at in (hours[2], hours[2] + timedelta(minutes=59, seconds=59), hours_ago(4), hours_ago(100)):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="sealed"):
            write(db, at)
    write(db, hours[2] + HOUR)
    assert verified(db).unsealed == 1


def test_an_entry_that_is_still_being_written_is_waited_for(db: Database) -> None:
    write(db, hours_ago(4))
    with psycopg.connect(db.url) as writer:
        writer.execute(
            "insert into public.audit_log (id, at, actor_kind, action) values (gen_random_uuid(), %s, 'system', 'a.b')",
            [hours_ago(3) + timedelta(minutes=7)],
        )
        assert seal(db)["sealed"] == 1
        write(db, hours_ago(2))
        # The later hour waits as well: the open entry would come to lie before its seal.
        assert seal(db)["sealed"] == 0
        write(db, datetime.now(UTC))
        writer.commit()
    assert seal(db)["sealed"] == 2
    assert verified(db).hours == 3


def test_a_writer_who_is_late_is_refused_and_never_slips_behind_a_seal(db: Database) -> None:
    """Entries and seals of one hour at the same time: each entry is under the seal, or was refused."""
    for count in range(30, 20, -1):
        write(db, hours_ago(count))

    def late(count: int) -> bool:
        try:
            with psycopg.connect(db.url) as own:
                own.execute(
                    "insert into public.audit_log (id, at, actor_kind, action)"
                    " values (gen_random_uuid(), %s, 'system', 'a.b')",
                    [hours_ago(count) + timedelta(minutes=3)],
                )
        except psycopg.errors.InsufficientPrivilege:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        writing = [pool.submit(late, count) for count in range(21, 31)]
        sealing = [pool.submit(seal, db, 1) for _ in range(14)]
        accepted = sum(each.result() for each in writing)
        for each in sealing:
            each.result()
    seal(db)
    found = verified(db)
    assert (found.entries, found.unsealed) == (10 + accepted, 0)


@pytest.mark.parametrize(
    ("change", "hour"),
    [
        ("update public.audit_log set action = 'tests.undone' where id = (select id from {second} limit 1)", 1),
        ("update public.audit_log set detail = '{{\"turns\": 2}}' where id = (select id from {second} limit 1)", 1),
        ("update public.audit_log set request_id = null where id = (select id from {first} limit 1)", 0),
        ("update public.audit_log set subject = repeat('a', 64) where id = (select id from {third} limit 1)", 2),
        ("update public.audit_log set at = at + interval '1 us' where id = (select id from {second} limit 1)", 1),
        ("delete from public.audit_log where id = (select id from {second} limit 1)", 1),
        ("delete from public.audit_log where id in (select id from {second})", 1),
        ("insert into public.audit_log (id, at, actor_kind, action) select gen_random_uuid(), at, 'system', 'a.b'"
         " from {third} limit 1", 2),
        ("update public.audit_seals set seal = repeat('0', 64) where number = 1", 0),
        ("update public.audit_seals set entries = 4 where number = 3", 2),
        ("delete from public.audit_seals where number = 1", 1),
        ("delete from public.audit_seals where number = 2", 2),
        ("update public.audit_seals set previous = repeat('0', 64) where number = 2", 1),
    ],
)  # fmt: skip
def test_whatever_a_superuser_changes_in_a_sealed_hour_is_found_and_the_hour_named(
    db: Database, capsys: pytest.CaptureFixture[str], change: str, hour: int
) -> None:
    hours = three_sealed_hours(db)
    of_hour = "(select * from public.audit_log where date_trunc('hour', at, 'UTC') = '{}' order by at) entries"
    names = ("first", "second", "third")
    parts = {name: of_hour.format(at.isoformat()) for name, at in zip(names, hours, strict=True)}
    tamper(db, change.format(**parts))
    assert broken_hour(db) == hours[hour]
    assert audit.main(["--database-url", db.url, "verify"]) == 1
    assert hours[hour].strftime("%Y-%m-%dT%H:%M") in capsys.readouterr().out


@pytest.mark.parametrize("hours", [4, 40], ids=["between", "before the first"])
def test_an_entry_slipped_into_an_empty_hour_that_is_passed_is_found(db: Database, hours: int) -> None:
    three_sealed_hours(db)
    tamper(
        db,
        "insert into public.audit_log (id, at, actor_kind, action) values (gen_random_uuid(), %s, 'system', 'a.b')",
        hours_ago(hours) + timedelta(minutes=1),
    )
    assert broken_hour(db) == hours_ago(hours)


def test_a_chain_that_was_cut_short_or_forged_whole_does_not_hold_the_witness_from_the_logs(
    db: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    three_sealed_hours(db)
    witness = seal(db)["seal"]
    checked = ["--database-url", db.url, "verify", "--witness", witness]
    assert audit.main(checked) == 0
    tamper(db, "delete from public.audit_seals where number = 3")
    tamper(db, "delete from public.audit_log where at >= %s", hours_ago(3))
    assert verified(db).hours == 2
    assert audit.main(checked) == 1
    assert "witness" in capsys.readouterr().out
    tamper(db, "delete from public.audit_seals; update public.audit_log set action = 'tests.forged'")
    assert seal(db)["sealed"] == 2
    assert verified(db).hours == 2
    assert audit.main(checked) == 1


def test_text_of_every_kind_is_sealed_and_verified_the_same(db: Database) -> None:
    texts = ['quote " and \\ and /', "tab\tline\nend\r", "bell \x07 and \x1f and \x7f", "žluťoučký 語 🎙 \u2028", ""]
    for number, text in enumerate(texts):
        write(db, hours_ago(2) + timedelta(minutes=number), detail='{"ü": 1.50, "a": [null, true, 1e3]}', request=text)
    assert seal(db)["sealed"] == 1
    assert verified(db).entries == len(texts)


async def test_the_chore_seals_and_each_seal_is_told_to_the_logs(
    db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in db.environment.items():
        monkeypatch.setenv(name, value)
    load.cache_clear()
    monkeypatch.setattr(logs.logger(), "propagate", True)
    for count in (4, 3):
        write(db, hours_ago(count))
    with caplog.at_level("INFO"):
        assert await service.seal_audit() == 2
        assert await service.seal_audit() == 0
    load.cache_clear()
    # One record, however many loggers hand it on to the same handler.
    sealed = {id(record): record for record in caplog.records if record.getMessage() == "the audit log was sealed"}
    (told,) = sealed.values()
    assert verified(db).hours == 2
    assert holds(db, told.__dict__["seal"])
