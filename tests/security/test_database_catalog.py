"""What must hold of every table and every function of the database, whoever adds one: asked of the catalogue itself."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.support.database import Database

UNFORCED = """
select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('public', 'private') and c.relkind in ('r', 'p')
  and not (c.relrowsecurity and c.relforcerowsecurity)
"""
OPEN_TO_PUBLIC = """
select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname in ('public', 'private') and has_function_privilege('public', p.oid, 'execute')
"""
WITHOUT_SEARCH_PATH = """
select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname in ('public', 'private') and not 'search_path=""' = any (coalesce(p.proconfig, '{}'))
"""
DEFINERS_OF_OTHERS = """
select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname in ('public', 'private') and p.prosecdef and p.proowner <> 'app_owner'::regrole
"""
# What any API role, or everybody, may do with a table or a column of one.
TABLE_GRANTS = """
select distinct grantee, table_name, privilege_type from information_schema.table_privileges
where table_schema in ('public', 'private') and grantee in ('anon', 'authenticated', 'service_role', 'PUBLIC')
"""
COLUMN_GRANTS = """
select table_name, column_name, privilege_type from information_schema.column_privileges
where table_schema in ('public', 'private') and grantee = 'authenticated'
"""
EXECUTABLE = """
select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname = %s and has_function_privilege(%s, p.oid, 'execute')
"""
SERVER_FUNCTIONS = {
    "register_person", "resend_verification", "verify_email", "find_credentials", "open_sign_in", "rotate_refresh",
    "take_outbox", "settle_outbox", "take_delivery", "settle_delivery", "reap_turns", "purge", "ping",
    "set_administrator", "suspend_address", "restore_address", "delete_address", "erase_rows", "erase_limits",
    "erase_mails", "erase_person", "waiting_erasures", "export_rows", "export_audit", "seal_audit",
    "open_contact_case", "purge_contact_cases", "begin_google_sign_in", "pass_google_callback", "claim_google_sign_in",
    "release_google_sign_in", "finish_google_sign_in",
    "note_failed_sign_in", "renew_password_hash", "ask_password_reset", "find_password_reset", "reset_password",
    "begin_avatar_session", "start_avatar_session", "keep_avatar_alive", "stop_avatar_by_token",
    "settle_avatar_session", "release_avatar_session", "release_expired_reservations", "estimate_avatar_sessions",
    "reset_avatar_quotas",
}  # fmt: skip
PERSON_FUNCTIONS = {
    "enter_only", "settle_entry", "record_usage", "end_sign_in", "get_me", "update_me", "create_session",
    "list_sessions", "get_session", "update_session", "delete_session", "end_session", "session_opening",
    "retitle_session", "list_messages", "suspend_person",
    "restore_person", "delete_me", "open_turn", "close_turn", "get_turn", "interrupt_turn",
    "get_usage", "begin_call", "end_call",
    "end_all_sign_ins", "list_sign_ins", "end_one_sign_in", "change_password",
    "get_avatar_quota", "reserve_avatar_session", "list_avatar_sessions", "get_avatar_session", "stop_avatar_session",
    "change_avatar_quota",
}  # fmt: skip
TABLES = {
    "users", "sign_ins", "refresh_tokens", "one_time_tokens", "sessions", "messages", "turns", "idempotency_keys",
    "rate_limits", "fleet_uses", "usage_events", "outbox", "inbox", "audit_log", "audit_seals",
    "request_tallies", "request_counts", "contact_cases", "google_identities",
    "plans", "avatar_quotas", "quota_grants", "avatar_sessions", "quota_memories",
}  # fmt: skip


@pytest.fixture
def scratch(db: Database) -> Iterator[psycopg.Connection]:
    """The administrator in a transaction that is undone afterwards."""
    connection = psycopg.connect(db.url)
    try:
        yield connection
    finally:
        connection.rollback()
        connection.close()


def names(db: Database, query: str, *parameters: str) -> set[str]:
    return {str(row[0]) for row in db.rows(query, *parameters)}


def test_every_table_has_row_level_security_enabled_and_forced(db: Database) -> None:
    assert names(db, UNFORCED) == set()
    assert names(db, "select tablename from pg_tables where schemaname = 'public'") == TABLES


def test_a_new_table_without_row_level_security_would_be_noticed(scratch: psycopg.Connection) -> None:
    scratch.execute("create table public.forgotten (id int)")
    scratch.execute("create table public.half_forgotten (id int)")
    scratch.execute("alter table public.half_forgotten enable row level security")
    assert {row[0] for row in scratch.execute(UNFORCED)} == {"public.forgotten", "public.half_forgotten"}


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_a_new_table_or_function_is_open_to_no_api_role_by_default(scratch: psycopg.Connection, role: str) -> None:
    scratch.execute("create table public.forgotten (id int)")
    scratch.execute("create function public.forgotten() returns int language sql as 'select 1'")
    may = scratch.execute(
        "select has_table_privilege(%(r)s, 'public.forgotten', 'select, insert, update, delete'),"
        " has_function_privilege(%(r)s, 'public.forgotten()', 'execute')",
        {"r": role},
    )
    assert may.fetchone() == (False, False)


def test_no_function_is_open_to_everybody(db: Database) -> None:
    assert names(db, OPEN_TO_PUBLIC) == set()


def test_every_function_has_an_empty_search_path(db: Database) -> None:
    assert names(db, WITHOUT_SEARCH_PATH) == set()


def test_every_security_definer_function_belongs_to_app_owner(db: Database) -> None:
    assert names(db, DEFINERS_OF_OTHERS) == set()


def test_the_checks_of_functions_would_notice_a_careless_one(scratch: psycopg.Connection) -> None:
    scratch.execute("create function public.careless() returns int language sql security definer as 'select 1'")
    scratch.execute("grant execute on function public.careless() to public")
    for query in (OPEN_TO_PUBLIC, WITHOUT_SEARCH_PATH, DEFINERS_OF_OTHERS):
        assert {row[0] for row in scratch.execute(query)} == {"careless()"}


def test_app_owner_cannot_log_in_and_bypasses_nothing(db: Database) -> None:
    row = db.rows(
        "select rolcanlogin, rolbypassrls, rolsuper, rolcreaterole, rolcreatedb from pg_roles"
        " where rolname = 'app_owner'"
    )
    assert row == [(False, False, False, False, False)]
    assert (
        db.rows(
            "select has_schema_privilege('app_owner', n.nspname, 'create') from pg_namespace n"
            " where n.nspname in ('public', 'private', 'auth')"
        )
        == [(False,)] * 3
    )


def test_anon_has_no_grant_of_any_kind(db: Database) -> None:
    for schema in ("public", "private"):
        assert names(db, EXECUTABLE, schema, "anon") == set()
        assert db.rows("select has_schema_privilege('anon', %s, 'usage')", schema) == [(False,)]
    held = db.rows(
        "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname in ('public', 'private') and c.relkind in ('r', 'p', 'v', 'm', 'f')"
        " and (has_table_privilege('anon', c.oid, 'select, insert, update, delete, truncate, references, trigger')"
        " or has_any_column_privilege('anon', c.oid, 'select, insert, update, references'))"
    )
    assert held == [(0,)]


def test_only_authenticated_reads_tables_and_nobody_writes_them(db: Database) -> None:
    assert set(db.rows(TABLE_GRANTS)) == {("authenticated", "usage_events", "SELECT")}
    columns = db.rows(COLUMN_GRANTS)
    assert {kind for _, _, kind in columns} == {"SELECT"}
    assert {table for table, _, _ in columns} == {
        "users", "sign_ins", "sessions", "messages", "turns", "usage_events", "request_tallies", "request_counts",
        "google_identities", "avatar_quotas", "quota_grants", "avatar_sessions",
    }  # fmt: skip


def test_authenticated_may_read_no_column_that_holds_a_hash(db: Database) -> None:
    hashed = {(table, column) for table, column, _ in db.rows(COLUMN_GRANTS) if "hash" in column}
    assert hashed == set()
    kept = names(db, "select column_name from information_schema.columns where column_name like '%%_hash'")
    assert {"password_hash", "token_hash", "capability_hash", "key_hash"} <= kept


def test_each_role_executes_its_own_functions_and_no_others(db: Database) -> None:
    assert names(db, EXECUTABLE, "public", "service_role") == SERVER_FUNCTIONS
    assert names(db, EXECUTABLE, "public", "authenticated") == PERSON_FUNCTIONS
    assert names(db, EXECUTABLE, "private", "service_role") == {"gate"}
    assert names(db, EXECUTABLE, "private", "authenticated") == {"gate"}


def test_the_ledger_is_append_only_even_for_the_functions(db: Database) -> None:
    may = "select has_table_privilege('app_owner', 'public.usage_events', %s)"
    assert [db.rows(may, kind)[0][0] for kind in ("insert", "select", "update", "delete", "truncate")] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_a_function_that_forgets_whose_rows_it_may_touch_still_touches_nobody_elses(
    scratch: psycopg.Connection,
) -> None:
    scratch.execute("grant create on schema public to app_owner")
    scratch.execute(
        "insert into public.users (id, email) select gen_random_uuid(), who || '@x.test'"
        " from unnest('{one,two}'::text[]) who"
    )
    scratch.execute("set local role app_owner")
    scratch.execute(
        "create function public.careless() returns setof text language sql security definer set search_path = ''"
        " as 'update public.users set full_name = ''Mallory'' returning email'"
    )
    scratch.execute("grant execute on function public.careless() to authenticated")
    scratch.execute("reset role")
    scratch.execute(
        "select set_config('request.jwt.claims', jsonb_build_object('sub', id, 'role', 'authenticated')::text, true)"
        " from public.users where email = 'one@x.test'"
    )
    scratch.execute("set local role authenticated")
    assert scratch.execute("select * from public.careless()").fetchall() == [("one@x.test",)]


def test_every_table_says_what_it_is_for(db: Database) -> None:
    silent = names(
        db,
        "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname in ('public', 'private') and c.relkind = 'r' and obj_description(c.oid) is null",
    )
    assert silent == set()


def test_every_foreign_key_is_indexed(db: Database) -> None:
    bare = names(
        db,
        "select k.conrelid::regclass || ' ' || k.conname from pg_constraint k where k.contype = 'f'"
        " and k.connamespace = 'public'::regnamespace and not exists (select from pg_index i"
        " where i.indrelid = k.conrelid and i.indkey[0] = k.conkey[1])",
    )
    assert bare == set()
