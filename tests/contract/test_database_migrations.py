"""The migrations, from an empty database as Supabase hands it over, by the role it hands over."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from infra.supabase import keys
from infra.supabase.migrate import MIGRATIONS, MigrationError, migrate, read_migrations
from local.database.cluster import STOP_SIGNAL, Cluster
from tests.support.database import free_ports

NAMES = [migration.name for migration in read_migrations()]
_numbers = itertools.count()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster with Supabase's roles and nothing of ours."""
    folder = Path(tempfile.mkdtemp(prefix="oprina-migrations-"))
    folder.chmod(0o755)
    made = Cluster(folder, free_ports(1)[0], durable=False)
    made.prepare()
    process = made.start(folder / "postgres.log")
    try:
        made.open()
        yield made
    finally:
        process.send_signal(STOP_SIGNAL)
        process.wait(20)
        shutil.rmtree(folder)


@pytest.fixture
def empty(cluster: Cluster) -> Iterator[str]:
    """The address of a database in the state in which a Supabase project begins."""
    name = f"empty_{next(_numbers)}"
    with psycopg.connect(cluster.administrator_url, autocommit=True, dbname="template1") as connection:
        connection.execute(f"create database {name} template postgres owner postgres".encode())
    yield cluster.url.removesuffix("postgres") + name
    with psycopg.connect(cluster.administrator_url, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations that a test may change."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations"))


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {
            str(row[0]) for row in connection.execute("select tablename from pg_tables where schemaname = 'public'")
        }


def run(url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra.supabase.migrate", "--database-url", url]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_migrations_run_as_a_role_that_is_no_superuser(empty: str) -> None:
    with psycopg.connect(empty) as connection:
        row = connection.execute("select current_user, rolsuper from pg_roles where rolname = current_user").fetchone()
    assert row == ("postgres", False)
    assert migrate(empty, say=lambda _: None) == NAMES
    assert "users" in tables(empty)


def test_the_command_applies_all_says_so_and_has_nothing_to_do_the_second_time(empty: str) -> None:
    first, second = run(empty), run(empty)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert [line.split() for line in first.stdout.splitlines()[:-1]] == [["applied", name] for name in NAMES]
    assert [line.split() for line in second.stdout.splitlines()[:-1]] == [["present", name] for name in NAMES]
    assert second.stdout.splitlines()[-1] == "nothing to do"


def test_what_was_applied_is_recorded_with_its_digest(empty: str) -> None:
    migrate(empty, say=lambda _: None)
    with psycopg.connect(empty) as connection:
        recorded = connection.execute("select name, sha256 from private.migrations order by name").fetchall()
    assert recorded == [(migration.name, migration.sha256) for migration in read_migrations()]


def test_an_applied_file_that_changed_is_refused_by_its_name(empty: str, folder: Path) -> None:
    migrate(empty, folder=folder, say=lambda _: None)
    changed = folder / NAMES[2]
    changed.write_text(changed.read_text() + "-- changed\n")
    with pytest.raises(MigrationError, match=f"{NAMES[2]} changed after it was applied"):
        migrate(empty, folder=folder, say=lambda _: None)


def test_a_changed_file_stops_everything_before_a_new_file_is_applied(empty: str, folder: Path) -> None:
    migrate(empty, folder=folder, say=lambda _: None)
    (folder / "9999_new.sql").write_text("create table public.fresh (id int);")
    (folder / NAMES[0]).write_text("-- changed\n")
    with pytest.raises(MigrationError, match="changed"):
        migrate(empty, folder=folder, say=lambda _: None)
    assert "fresh" not in tables(empty)


def test_a_missing_file_is_refused(empty: str, folder: Path) -> None:
    migrate(empty, folder=folder, say=lambda _: None)
    (folder / NAMES[-1]).unlink()
    with pytest.raises(MigrationError, match=f"{NAMES[-1]} was applied to this database but is not among the files"):
        migrate(empty, folder=folder, say=lambda _: None)


def test_a_file_numbered_before_an_applied_one_is_refused(empty: str, folder: Path) -> None:
    migrate(empty, folder=folder, say=lambda _: None)
    (folder / "0000_before.sql").write_text("select 1;")
    with pytest.raises(MigrationError, match=r"0000_before\.sql is new but numbered before"):
        migrate(empty, folder=folder, say=lambda _: None)


def test_a_file_that_fails_leaves_nothing_and_those_before_it_stay(empty: str, folder: Path) -> None:
    (folder / "9998_good.sql").write_text("create table public.good (id int);")
    (folder / "9999_bad.sql").write_text("create table public.bad (id int); select nothing_such();")
    with pytest.raises(MigrationError, match=r"9999_bad\.sql: function nothing_such"):
        migrate(empty, folder=folder, say=lambda _: None)
    assert {"good", "bad"} & tables(empty) == {"good"}
    (folder / "9999_bad.sql").write_text("create table public.bad (id int);")
    assert migrate(empty, folder=folder, say=lambda _: None) == ["9999_bad.sql"]


def test_parallel_runs_apply_each_file_once(empty: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrate(empty, say=lambda _: None), range(4)))
    assert sorted(itertools.chain.from_iterable(applied)) == NAMES


@pytest.mark.parametrize("name", ["1_short.sql", "0001_Upper.sql", "0001.sql"])
def test_a_badly_named_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(MigrationError, match="is not named"):
        read_migrations(tmp_path)


def test_a_number_used_twice_is_refused(tmp_path: Path) -> None:
    for name in ("0001_one.sql", "0001_two.sql"):
        (tmp_path / name).touch()
    with pytest.raises(MigrationError, match="have the same number"):
        read_migrations(tmp_path)


def test_an_address_where_no_database_is_is_refused_without_a_trace_of_the_password() -> None:
    answer = run(f"postgresql://postgres:hunter2@127.0.0.1:{free_ports(1)[0]}/postgres")
    assert answer.returncode == 1
    assert answer.stderr.startswith("refused: ")
    assert "hunter2" not in answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_gate_is_administered_from_the_command_line(empty: str, capsys: pytest.CaptureFixture[str]) -> None:
    migrate(empty, say=lambda _: None)
    first, second, third = ("1" * 64, "2" * 64, "3" * 64)

    def administer(*arguments: str) -> int:
        return keys.main(["--database-url", empty, *arguments])

    assert administer("list") == 0
    assert "nobody is let in" in capsys.readouterr().out
    assert administer("trust-issuer", "https://tokens.oprina.test") == 0
    assert [administer("add-backend-key", key) for key in (first, first, second)] == [0, 0, 0]
    assert administer("add-backend-key", third) == 1
    assert "two keys are live already" in capsys.readouterr().err
    assert administer("retire-backend-key", first) == 0
    assert administer("add-backend-key", third) == 0
    assert administer("retire-backend-key", first) == 1
    assert administer("add-backend-key", "the key itself") == 1
    capsys.readouterr()
    administer("list")
    listed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert listed[0] == ["trusted", "issuer", "https://tokens.oprina.test"]
    assert {(words[2], words[-1]) for words in listed[1:]} == {(first, "retired"), (second, "live"), (third, "live")}
