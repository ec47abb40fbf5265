-- The walls between the public REST address and the data, before there is any data.
--
--   1. The gate: PostgREST calls private.gate() before every request, and it refuses whoever does not come from our
--      backend, with a token of our issuer, from a living sign-in of an active person.
--   2. Grants: anon has none at all. authenticated may SELECT named columns. service_role may EXECUTE named functions.
--   3. Row level security, enabled and forced, on every table.
--
-- All writing is done by `security definer` functions owned by app_owner. That role cannot log in and bypasses nothing:
-- row level security binds it too, by policies of its own, so that a function which forgets whose rows it may touch still
-- touches nobody else's.
--
-- Each migration runs in one transaction as Supabase's `postgres`, which is no superuser.

do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'app_owner') then
    create role app_owner nologin nosuperuser nocreatedb nocreaterole nobypassrls;
  end if;
end $$;
grant app_owner to postgres;
comment on role app_owner is 'Owns the functions that write. Cannot log in, bypasses no row level security.';

-- Supabase grants everything in public to its API roles by default; here nothing is granted that is not written down.
alter default privileges for role postgres in schema public revoke all on tables from anon, authenticated, service_role;
alter default privileges for role postgres in schema public revoke all on functions from anon, authenticated, service_role;
alter default privileges for role postgres in schema public revoke all on sequences from anon, authenticated, service_role;
alter default privileges for role postgres revoke execute on functions from public;
alter default privileges for role app_owner revoke execute on functions from public;
revoke all on all tables in schema public from anon, authenticated, service_role;
revoke all on all functions in schema public from public, anon, authenticated, service_role;
revoke all on all sequences in schema public from anon, authenticated, service_role;
revoke all on schema public from public, anon;
grant usage on schema public to authenticated, service_role, app_owner;

create schema if not exists private;
revoke all on schema private from public, anon;
grant usage on schema private to authenticated, service_role, app_owner;
comment on schema private is 'Helpers of the functions in public. PostgREST does not expose it.';

create table private.backend_keys (
  key_hash text primary key check (key_hash ~ '^[0-9a-f]{64}$'),
  slot smallint not null check (slot in (1, 2)),
  created_at timestamptz not null default now(),
  retired_at timestamptz
);
create unique index backend_keys_live on private.backend_keys (slot) where retired_at is null;
comment on table private.backend_keys is
  'SHA-256, in hex, of the keys our functions send as X-Backend-Key. Two slots: at most two live at a time, for rotation.';

create table private.settings (
  name text primary key check (name in ('trusted_issuer')),
  value text not null
);
comment on table private.settings is 'What the gate is configured with: the only issuer whose tokens it accepts.';

alter table private.backend_keys enable row level security;
alter table private.backend_keys force row level security;
create policy app on private.backend_keys for select to app_owner using (true);
create policy administration on private.backend_keys for all to postgres using (true) with check (true);
alter table private.settings enable row level security;
alter table private.settings force row level security;
create policy app on private.settings for select to app_owner using (true);
create policy administration on private.settings for all to postgres using (true) with check (true);
grant select on private.backend_keys, private.settings to app_owner;

-- app_owner has no rights in Supabase's schema auth and postgres cannot give it any. These bodies are bound when they
-- are created, by postgres, so that calling them needs no look-up there.
create function private.person_id() returns uuid language sql stable set search_path = ''
begin atomic
  select auth.uid();
end;
comment on function private.person_id() is 'Whose token this request carries; null with the server key.';

create function private.claims() returns jsonb language sql stable set search_path = ''
begin atomic
  select coalesce(auth.jwt(), '{}'::jsonb);
end;

create function private.is_server() returns boolean language sql stable set search_path = ''
begin atomic
  select coalesce(auth.jwt() ->> 'role', '') = 'service_role';
end;
comment on function private.is_server() is 'Whether the server key made this request.';
grant execute on function private.person_id(), private.claims(), private.is_server() to app_owner;

grant create on schema public, private to app_owner;
set local role app_owner;

-- Refusals leave as PostgREST passes them on: the status from the error code PTnnn, and
-- {"code": "PT404", "message": stable word, "details": JSON members of the answer as text, "hint": a sentence}.
create function private.refuse(p_status int, p_code text, p_detail text, p_extra jsonb default '{}') returns void
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = 'PT' || p_status, message = p_code, detail = p_extra::text, hint = p_detail;
end $$;

-- The same answer, without undoing the transaction: what a caller spent of a rate limit on a refused request stays
-- spent. A function evaluates private.enter in its declarations, before the block whose handler ends here.
create function private.refused(p_state text, p_code text, p_extra text, p_detail text) returns jsonb
language plpgsql set search_path = '' as $$
begin
  perform pg_catalog.set_config('response.status', substr(p_state, 3), true);
  return jsonb_build_object('code', p_state, 'message', p_code, 'details', p_extra, 'hint', p_detail);
end $$;

create function private.stamp(p_at timestamptz) returns text language sql stable set search_path = '' as $$
  select to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;
comment on function private.stamp(timestamptz) is 'RFC 3339 in UTC with microseconds, whatever the session''s time zone.';

-- The person of this request is active and the sign-in of the token lives; answers whether they are an administrator.
-- The tables it reads are made by the next migration.
create function private.require_person() returns boolean language plpgsql stable set search_path = '' as $$
declare
  v_person uuid;
  v_sign_in uuid;
  v_admin boolean;
  v_status text;
  v_living boolean;
begin
  v_person := private.person_id();
  v_sign_in := (private.claims() ->> 'sid')::uuid;
  select u.is_admin, u.status, s.id is not null and s.ended_at is null
    into v_admin, v_status, v_living
    from public.users u left join public.sign_ins s on s.id = v_sign_in and s.user_id = u.id
    where u.id = v_person;
  if v_status is distinct from 'active' then
    perform private.refuse(401, 'person_inactive', 'This account is not active.');
  end if;
  if not v_living then
    perform private.refuse(401, 'sign_in_ended', 'This sign-in has ended. Sign in again.');
  end if;
  return v_admin;
exception when invalid_text_representation then
  perform private.refuse(401, 'token_invalid', 'The access token names no person or sign-in.');
end $$;

create function private.gate() returns void language plpgsql stable security definer set search_path = '' as $$
declare
  v_key text := coalesce(nullif(current_setting('request.headers', true), ''), '{}')::jsonb ->> 'x-backend-key';
  v_role text := current_setting('role', true);
begin
  if not exists (
    select from private.backend_keys
    where key_hash = encode(sha256(convert_to(coalesce(v_key, ''), 'UTF8')), 'hex') and retired_at is null
  ) then
    perform private.refuse(403, 'backend_only', 'This address serves the backend only.');
  end if;
  if v_role = 'service_role' then
    return;
  end if;
  if v_role is distinct from 'authenticated' then
    perform private.refuse(401, 'token_missing', 'An access token is required.');
  end if;
  if private.claims() ->> 'iss' is distinct from (select value from private.settings where name = 'trusted_issuer') then
    perform private.refuse(401, 'token_invalid', 'The access token is not ours.');
  end if;
  perform private.require_person();
end $$;
comment on function private.gate() is 'PostgREST calls it before every request (pgrst.db_pre_request).';
grant execute on function private.gate() to authenticated, service_role;

reset role;
revoke create on schema public, private from app_owner;

alter role authenticator set pgrst.db_pre_request = 'private.gate';
notify pgrst, 'reload config';
