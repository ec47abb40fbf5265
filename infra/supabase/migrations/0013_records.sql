-- Records: how often a person called what, usage and cost by day, contact cases, and keys of calls that book usage.

-- Requests are counted where they enter, in a table that is not logged: a request that only reads then still writes
-- nothing that has to reach a disk before it is answered. The first request of a new day moves the days before it into
-- the logged table, so that a crash of the database costs at most the counts of the last day.
create unlogged table public.request_tallies (
  user_id uuid not null references public.users on delete cascade,
  day date not null,
  route text not null,
  count bigint not null check (count > 0),
  primary key (user_id, day, route)
) with (fillfactor = 50);
comment on table public.request_tallies is
  'Requests by person, day in their zone, and route, as they come in. Unlogged, as rate_limits.';

create table public.request_counts (
  user_id uuid not null references public.users on delete cascade,
  day date not null,
  route text not null,
  count bigint not null check (count > 0),
  primary key (user_id, day, route)
);
comment on table public.request_counts is
  'The same for days that are over, for 400 days. Both together are what a person asked for.';

create table public.contact_cases (
  case_id bigint generated always as identity primary key,
  user_id uuid references public.users on delete cascade,
  name text check (length(name) <= 255),
  email text not null check (length(email) between 3 and 320),
  subject text not null check (length(subject) between 1 and 200),
  message text not null check (length(message) between 1 and 5000),
  key_hash text unique check (key_hash ~ '^[0-9a-f]{64}$'),
  fingerprint text,
  created_at timestamptz not null default now(),
  check ((key_hash is null) = (fingerprint is null))
);
create index contact_cases_user on public.contact_cases (user_id) where user_id is not null;
create index contact_cases_created on public.contact_cases (created_at);
comment on table public.contact_cases is
  'What was written to the people behind the product. A number is never given twice; one may be missing.';
comment on column public.contact_cases.key_hash is
  'SHA-256 of the sender''s address and Idempotency-Key; for a day it gives the same case again.';

comment on column public.idempotency_keys.turn_id is 'Whose claim it is: the turn, or the call without a turn.';

alter table public.request_tallies enable row level security;
alter table public.request_tallies force row level security;
alter table public.request_counts enable row level security;
alter table public.request_counts force row level security;
alter table public.contact_cases enable row level security;
alter table public.contact_cases force row level security;
create policy app on public.request_tallies for all to app_owner
  using (user_id = (select private.person_id()) or (select private.is_server()))
  with check (user_id = (select private.person_id()) or (select private.is_server()));
create policy app on public.request_counts for all to app_owner
  using (user_id = (select private.person_id()) or (select private.is_server()))
  with check (user_id = (select private.person_id()) or (select private.is_server()));
create policy app on public.contact_cases for all to app_owner
  using ((select private.is_server())) with check ((select private.is_server()));
grant select, insert, update, delete on public.request_tallies, public.request_counts, public.contact_cases
  to app_owner;

-- A person may read their own counts, as they may read their ledger. Cases hold what somebody wrote before they signed
-- in, perhaps with another person's address: nobody reads them through the interface.
create policy own on public.request_tallies for select to authenticated using (user_id = (select auth.uid()));
create policy own on public.request_counts for select to authenticated using (user_id = (select auth.uid()));
grant select (user_id, day, route, count) on public.request_tallies, public.request_counts to authenticated;

grant create on schema public, private to app_owner;
set local role app_owner;

-- Zones are checked where they are set, by a database of zones that may be newer than this one's.
create function private.zone_of(p_zone text) returns text language plpgsql stable set search_path = '' as $$
begin
  perform now() at time zone p_zone;
  return coalesce(p_zone, 'UTC');
exception when invalid_parameter_value then
  return 'UTC';
end $$;
comment on function private.zone_of(text) is 'The zone as this database knows it; UTC for none and for an unknown one.';

create function private.fold_tallies(p_person uuid, p_today date) returns void
language sql set search_path = '' as $$
  with gone as (
    delete from public.request_tallies where ctid in (
      select ctid from public.request_tallies where user_id = p_person and day < p_today for update skip locked)
    returning day, route, count)
  insert into public.request_counts as kept (user_id, day, route, count)
    select p_person, day, route, count from gone order by day, route
    on conflict (user_id, day, route) do update set count = kept.count + excluded.count;
  delete from public.request_counts where user_id = p_person and day < p_today - 400
$$;

-- Counts what was let in, once for each request: its further steps take from no rate. Counting fails open, as limits do.
create function private.count_request(p_entry jsonb) returns void
language plpgsql set search_path = '' set lock_timeout = '2s' as $$
declare
  v_person uuid := private.person_id();
  v_today date;
  v_count bigint;
begin
  if jsonb_typeof(p_entry -> 'rate') is distinct from 'object' then
    return;
  end if;
  select (now() at time zone private.zone_of(timezone))::date into v_today from public.users where id = v_person;
  insert into public.request_tallies as held (user_id, day, route, count)
    values (v_person, v_today, p_entry ->> 'route', 1)
    on conflict (user_id, day, route) do update set count = held.count + 1
    returning held.count into v_count;
  if v_count = 1 then
    perform private.fold_tallies(v_person, v_today);
  end if;
exception when others then
  raise warning 'a request was not counted: %', sqlstate;
end $$;

create or replace function private.enter(p_entry jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_admin boolean := private.require_person();
  v_rate jsonb := private.take_rate('person ' || private.person_id(), p_entry);
begin
  perform private.count_request(p_entry);
  return jsonb_build_object('admin', v_admin, 'replay', null, 'rate', v_rate);
end $$;

-- Usage

-- What the ledger holds between two moments, by p_group: {kind, unit, quantity, events, cost_micros, unpriced_events}.
-- The cost is what is known of it, and null where nothing is.
create function private.usage_lines(p_from timestamptz, p_to timestamptz) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(jsonb_agg(to_jsonb(line) order by line.kind, line.unit), '[]') from (
    select kind, unit, sum(quantity) as quantity, count(*) as events, sum(cost_micros)::bigint as cost_micros,
        count(*) filter (where cost_micros is null) as unpriced_events
      from public.usage_events
      where user_id = private.person_id() and created_at >= p_from and created_at < p_to
      group by kind, unit) line
$$;

create function private.request_lines(p_from date, p_to date) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object('route', line.route, 'count', line.count) order by line.route), '[]') from (
    select route, sum(count)::bigint as count from (
      select day, route, count from public.request_tallies where user_id = private.person_id()
      union all
      select day, route, count from public.request_counts where user_id = private.person_id()) counted
      where day between p_from and p_to group by route) line
$$;

-- Days are the person's own, both ends belong to the range. Only days on which something happened, newest first.
create function public.get_usage(p_entry jsonb, p_from date default null, p_to date default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_zone text;
  v_to date;
  v_from date;
  v_days jsonb;
  v_extra text;
  v_detail text;
begin
  select private.zone_of(timezone) into v_zone from public.users where id = private.person_id();
  v_to := coalesce(p_to, greatest((now() at time zone v_zone)::date, p_from));
  v_from := coalesce(p_from, v_to - 29);
  if v_to < v_from or v_to - v_from > 365 then
    perform private.refuse(422, 'range_invalid', 'A range begins before it ends and has at most 366 days.');
  end if;
  select coalesce(jsonb_agg(jsonb_build_object('day', happened.day,
      'usage', private.usage_lines(happened.day::timestamp at time zone v_zone,
        (happened.day + 1)::timestamp at time zone v_zone),
      'requests', private.request_lines(happened.day, happened.day)) order by happened.day desc), '[]')
    into v_days from (
      select (created_at at time zone v_zone)::date as day from public.usage_events
        where user_id = private.person_id() and created_at >= v_from::timestamp at time zone v_zone
          and created_at < (v_to + 1)::timestamp at time zone v_zone
      union
      select day from public.request_tallies where user_id = private.person_id() and day between v_from and v_to
      union
      select day from public.request_counts where user_id = private.person_id() and day between v_from and v_to
    ) happened;
  return private.answer(p_entry, v_entry, jsonb_build_object('from', v_from, 'to', v_to, 'timezone', v_zone,
    'days', v_days, 'requests', private.request_lines(v_from, v_to),
    'usage', private.usage_lines(v_from::timestamp at time zone v_zone, (v_to + 1)::timestamp at time zone v_zone)));
exception when sqlstate 'PT422' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- Contact

-- The case that this sender's key has made within a day; refuses the key for another payload.
create function private.case_of_key(p_key_hash text, p_fingerprint text) returns bigint
language plpgsql set search_path = '' as $$
declare
  v_case public.contact_cases;
begin
  select * into v_case from public.contact_cases
    where key_hash = p_key_hash and created_at > now() - interval '24 hours';
  if v_case.fingerprint <> p_fingerprint then
    perform private.refuse(422, 'idempotency_key_reused', 'This Idempotency-Key was used for another request.');
  end if;
  return v_case.case_id;
end $$;

-- Keeps a case and the two mails it causes, in one transaction. p_case is {name, email, subject, message}. The person is
-- attached when they are active and their sign-in lives; otherwise the case is nobody's. Both mails get the number as
-- {"case_id"} among their values. Nobody can have an address flooded with confirmations: three at once, three a day.
create function public.open_contact_case(
  p_entry jsonb, p_case jsonb, p_user_id uuid, p_sign_in_id uuid, p_key_hash text, p_support_id uuid,
  p_support_mail jsonb, p_confirmation_id uuid, p_confirmation jsonb
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
  v_case_id bigint;
  v_room jsonb;
  v_extra text;
  v_detail text;
begin
  if p_key_hash is not null then
    -- Whoever comes second with a key waits for the first to end.
    perform pg_advisory_xact_lock(hashtextextended('contact ' || p_key_hash, 0));
    v_case_id := private.case_of_key(p_key_hash, p_entry ->> 'fingerprint');
    if v_case_id is not null then
      return private.answer(p_entry, v_entry || jsonb_build_object('replay', jsonb_build_object(
        'fingerprint', p_entry ->> 'fingerprint', 'status', 201, 'body', jsonb_build_object('case_id', v_case_id))), null);
    end if;
    update public.contact_cases set key_hash = null, fingerprint = null where key_hash = p_key_hash;
  end if;
  insert into public.contact_cases (user_id, name, email, subject, message, key_hash, fingerprint)
    values ((select s.user_id from public.sign_ins s join public.users u on u.id = s.user_id
        where s.id = p_sign_in_id and s.user_id = p_user_id and s.ended_at is null and u.status = 'active'),
      p_case ->> 'name', p_case ->> 'email', p_case ->> 'subject', p_case ->> 'message', p_key_hash,
      case when p_key_hash is not null then p_entry ->> 'fingerprint' end)
    returning case_id into v_case_id;
  perform private.post(p_support_id, 'mail', jsonb_set(p_support_mail, '{values,case_id}', to_jsonb(v_case_id)));
  v_room := private.take_or_pass(
    'confirmation ' || encode(sha256(convert_to(lower(p_case ->> 'email'), 'UTF8')), 'hex'),
    jsonb_build_object('per_minute', 3.0 / 1440, 'burst', 3));
  if coalesce((v_room ->> 'allowed')::boolean, true) then
    perform private.post(p_confirmation_id, 'mail', jsonb_set(p_confirmation, '{values,case_id}', to_jsonb(v_case_id)));
  end if;
  return private.answer(p_entry, v_entry, jsonb_build_object('case_id', v_case_id));
exception when sqlstate 'PT422' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- At most p_limit cases that nobody has to answer any more.
create function public.purge_contact_cases(p_limit int) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_count int;
begin
  delete from public.contact_cases where ctid in (
    select ctid from public.contact_cases where created_at < now() - interval '730 days'
      limit p_limit for update skip locked);
  get diagnostics v_count = row_count;
  return jsonb_build_object('contact_cases', v_count);
end $$;

-- Idempotency of calls whose work is not in the database

-- Reads what a title is made from. A key that has its answer gives it; the one that writes the title claims the key.
create or replace function public.session_opening(p_entry jsonb, p_session_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_replay jsonb;
  v_text text;
  v_extra text;
  v_detail text;
begin
  if p_entry ->> 'key' is not null then
    v_replay := private.replay_of(p_entry, null);
    if v_replay is not null then
      return private.answer(p_entry, v_entry || jsonb_build_object('replay', v_replay), null);
    end if;
  end if;
  perform private.own_session(p_session_id);
  select text into v_text from public.messages
    where session_id = p_session_id and role = 'user' order by position limit 1;
  return private.answer(p_entry, v_entry, jsonb_build_object('text', v_text));
exception when sqlstate 'PT404' or sqlstate 'PT409' or sqlstate 'PT422' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- As enter_only, with a lease as long as the work may take, and under the call's own id: a call whose lease ran out and
-- that another has taken over can then no longer end the other's claim.
create function public.begin_call(p_entry jsonb, p_call_id uuid, p_lease_seconds int) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_extra text;
  v_detail text;
begin
  return private.answer(p_entry, private.admit(p_entry, v_entry, p_call_id, p_lease_seconds), '{}');
exception when sqlstate 'PT409' or sqlstate 'PT422' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- What a call used and the answer of its key, in one transaction; telling it again changes nothing. Without a status the
-- key may be used again.
create function public.end_call(
  p_entry jsonb, p_call_id uuid, p_items jsonb, p_status int default null, p_body jsonb default null,
  p_fingerprint text default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry - 'rate');
begin
  perform private.book(p_items, null, p_entry ->> 'route');
  if p_status is null then
    delete from public.idempotency_keys
      where user_id = private.person_id() and route = p_entry ->> 'route' and key = p_entry ->> 'key'
        and turn_id = p_call_id and state = 'running';
  else
    update public.idempotency_keys
      set state = 'done', status = p_status, body = p_body, fingerprint = coalesce(p_fingerprint, fingerprint)
      where user_id = private.person_id() and route = p_entry ->> 'route' and key = p_entry ->> 'key'
        and turn_id = p_call_id and state = 'running';
  end if;
  return private.answer(p_entry, v_entry, '{}');
end $$;
grant execute on function public.get_usage(jsonb, date, date), public.begin_call(jsonb, uuid, int),
  public.end_call(jsonb, uuid, jsonb, int, jsonb, text) to authenticated;
grant execute on function
  public.open_contact_case(jsonb, jsonb, uuid, uuid, text, uuid, jsonb, uuid, jsonb), public.purge_contact_cases(int)
  to service_role;

reset role;
revoke create on schema public, private from app_owner;
notify pgrst, 'reload schema';
