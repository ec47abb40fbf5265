-- Avatars: what a person may use, what is set aside for a session, and what was used in the end.
--
-- Locks are taken in one order everywhere: the person, their quota, the session. Whoever holds the quota decides alone, so
-- reservations, grants, resets and settlements of one person come one after the other.
--
-- A session is charged to the period in which it was reserved, and to no other: once its period is over, ending it writes
-- the ledger and leaves the quota alone.

create table public.plans (
  name text primary key check (name ~ '^[a-z][a-z0-9_]{0,31}$'),
  seconds_per_period int not null check (seconds_per_period >= 0),
  period text not null check (period in ('day', 'week', 'month')),
  by_default boolean not null default false
);
create unique index plans_default on public.plans (by_default) where by_default;
comment on table public.plans is 'How many avatar seconds there are in a period. Periods are those of the calendar, in UTC.';

create table public.avatar_quotas (
  user_id uuid primary key references public.users on delete cascade,
  plan text not null references public.plans,
  limit_seconds int not null check (limit_seconds >= 0),
  period_started_at timestamptz not null,
  resets_at timestamptz not null,
  used_seconds int not null default 0 check (used_seconds >= 0),
  reserved_seconds int not null default 0 check (reserved_seconds >= 0),
  carried_seconds int not null default 0 check (carried_seconds >= 0),
  created_at timestamptz not null default now(),
  check (resets_at > period_started_at),
  check (used_seconds >= carried_seconds)
);
create index avatar_quotas_due on public.avatar_quotas (resets_at);
create index avatar_quotas_plan on public.avatar_quotas (plan);
comment on table public.avatar_quotas is 'A person''s avatar seconds in the period that runs.';
comment on column public.avatar_quotas.carried_seconds is
  'The part of used_seconds that an earlier account with the same address used in this period.';

create table public.quota_grants (
  id uuid primary key,
  user_id uuid not null references public.users on delete cascade,
  seconds int not null check (seconds between 1 and 1000000),
  reason text not null check (length(reason) between 1 and 500),
  period_started_at timestamptz,
  created_at timestamptz not null default now()
);
create index quota_grants_user on public.quota_grants (user_id);
comment on table public.quota_grants is
  'Seconds on top of the plan, given by an administrator: in one period, or in each where none is named.';

create table public.avatar_sessions (
  id uuid primary key,
  user_id uuid not null references public.users on delete cascade,
  avatar_id text not null check (length(avatar_id) between 1 and 128),
  quality text check (length(quality) between 1 and 32),
  language text check (length(language) between 2 and 35),
  status text not null default 'reserved'
    check (status in ('reserved', 'minting', 'live', 'stopping', 'settled', 'released')),
  reserved_seconds int not null check (reserved_seconds > 0),
  period_started_at timestamptz not null,
  token_hash text not null unique check (token_hash ~ '^[0-9a-f]{64}$'),
  provider_session_id text unique check (length(provider_session_id) between 1 and 200),
  started_at timestamptz,
  last_keep_alive_at timestamptz,
  ended_at timestamptz,
  settled_seconds int check (settled_seconds between 0 and reserved_seconds),
  absorbed_seconds int check (absorbed_seconds >= 0),
  estimated boolean not null default false,
  expires_at timestamptz not null,
  created_at timestamptz not null default now(),
  check ((status = 'settled') = (settled_seconds is not null)),
  check ((settled_seconds is null) = (absorbed_seconds is null)),
  check (status not in ('settled', 'released') or ended_at is not null)
);
create unique index avatar_sessions_open on public.avatar_sessions (user_id) where status not in ('settled', 'released');
create index avatar_sessions_user on public.avatar_sessions (user_id, created_at desc, id desc);
create index avatar_sessions_expiry on public.avatar_sessions (expires_at) where status not in ('settled', 'released');
comment on table public.avatar_sessions is
  'A reservation and the session made of it. Each ends exactly once, as settled or as released; a person has one open.';

create table public.quota_memories (
  address_hash text primary key check (address_hash ~ '^[0-9a-f]{64}$'),
  period_started_at timestamptz not null,
  resets_at timestamptz not null,
  used_seconds int not null check (used_seconds >= 0)
);
create index quota_memories_reset on public.quota_memories (resets_at);
comment on table public.quota_memories is
  'What a deleted account had used, under a keyed hash of its address, until the period is over: so that registering'
  ' again gives no new seconds.';

-- The database's own: no request and no function outside it ever sees it.
create table private.quota_keys (
  single boolean primary key default true check (single),
  key text not null check (key ~ '^[0-9a-f]{64}$')
);
comment on table private.quota_keys is 'What the addresses in quota_memories are hashed with. One row, made here.';

alter table public.usage_events add column avatar_session_id uuid;
create unique index usage_events_avatar_session on public.usage_events (avatar_session_id, unit)
  where avatar_session_id is not null;

alter table private.quota_keys enable row level security;
alter table private.quota_keys force row level security;
alter table public.plans enable row level security;
alter table public.plans force row level security;
alter table public.avatar_quotas enable row level security;
alter table public.avatar_quotas force row level security;
alter table public.quota_grants enable row level security;
alter table public.quota_grants force row level security;
alter table public.avatar_sessions enable row level security;
alter table public.avatar_sessions force row level security;
alter table public.quota_memories enable row level security;
alter table public.quota_memories force row level security;
create policy app on private.quota_keys for select to app_owner using (true);
create policy administration on private.quota_keys for all to postgres using (true) with check (true);
grant select on private.quota_keys to app_owner;
insert into private.quota_keys (key)
  values (encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex'));
create policy app on public.plans for select to app_owner using (true);
create policy administration on public.plans for all to postgres using (true) with check (true);
insert into public.plans (name, seconds_per_period, period, by_default) values
  ('standard', 900, 'month', true), ('plus', 3600, 'month', false);
create policy app on public.avatar_quotas for all to app_owner
  using (user_id = (select private.person_id()) or (select private.is_server()))
  with check (user_id = (select private.person_id()) or (select private.is_server()));
create policy app on public.quota_grants for all to app_owner
  using (user_id = (select private.person_id()) or (select private.is_server()))
  with check (user_id = (select private.person_id()) or (select private.is_server()));
create policy app on public.avatar_sessions for all to app_owner
  using (user_id = (select private.person_id()) or (select private.is_server()))
  with check (user_id = (select private.person_id()) or (select private.is_server()));
-- Its rows are nobody's: they are found by the hash of an address and by nothing else.
create policy app on public.quota_memories for all to app_owner using (true) with check (true);
grant select on public.plans to app_owner;
grant select, insert, update, delete on public.avatar_quotas, public.quota_grants, public.avatar_sessions,
  public.quota_memories to app_owner;

create policy own on public.avatar_quotas for select to authenticated using (user_id = (select auth.uid()));
create policy own on public.quota_grants for select to authenticated using (user_id = (select auth.uid()));
create policy own on public.avatar_sessions for select to authenticated using (user_id = (select auth.uid()));
grant select (
  user_id, plan, limit_seconds, period_started_at, resets_at, used_seconds, reserved_seconds, carried_seconds, created_at
) on public.avatar_quotas to authenticated;
grant select (id, user_id, seconds, reason, period_started_at, created_at) on public.quota_grants to authenticated;
grant select (
  id, user_id, avatar_id, quality, language, status, reserved_seconds, period_started_at, started_at,
  last_keep_alive_at, ended_at, settled_seconds, absorbed_seconds, estimated, expires_at, created_at
) on public.avatar_sessions to authenticated;

grant create on schema public, private to app_owner;
set local role app_owner;

-- The quota

create function private.address_hash(p_email text) returns text language sql stable set search_path = '' as $$
  select encode(sha256(convert_to(key || encode(sha256(convert_to(key || lower(p_email), 'UTF8')), 'hex'), 'UTF8')), 'hex')
    from private.quota_keys
$$;
comment on function private.address_hash(text) is 'SHA-256 of an address under the database''s own key, applied twice.';

create function private.period_start(p_period text, p_at timestamptz) returns timestamptz
language sql immutable set search_path = '' as $$
  select date_trunc(p_period, p_at, 'UTC')
$$;

create function private.period_end(p_period text, p_at timestamptz) returns timestamptz
language sql immutable set search_path = '' as $$
  select (date_trunc(p_period, p_at at time zone 'UTC') + ('1 ' || p_period)::interval) at time zone 'UTC'
$$;

-- Begins the period that is due. What is still reserved belongs to the period before, so nothing is reserved in this one.
create function private.begin_period(p_quota public.avatar_quotas) returns public.avatar_quotas
language plpgsql set search_path = '' as $$
declare
  v_plan public.plans;
  v_quota public.avatar_quotas;
begin
  select * into strict v_plan from public.plans where name = p_quota.plan;
  -- A longer period may have begun before the last one ended: it counts from there, and no two periods share a start.
  update public.avatar_quotas
    set limit_seconds = v_plan.seconds_per_period, used_seconds = 0, reserved_seconds = 0, carried_seconds = 0,
      period_started_at = greatest(p_quota.resets_at, private.period_start(v_plan.period, clock_timestamp())),
      resets_at = private.period_end(v_plan.period, clock_timestamp())
    where user_id = p_quota.user_id returning * into v_quota;
  return v_quota;
end $$;

create function private.open_quota(p_user_id uuid) returns void language plpgsql set search_path = '' as $$
declare
  v_plan public.plans;
  v_memory public.quota_memories;
begin
  select * into strict v_plan from public.plans where by_default;
  select m.* into v_memory from public.quota_memories m join public.users u on m.address_hash = private.address_hash(u.email)
    where u.id = p_user_id and m.resets_at > clock_timestamp();
  insert into public.avatar_quotas (user_id, plan, limit_seconds, period_started_at, resets_at, used_seconds, carried_seconds)
    values (p_user_id, v_plan.name, v_plan.seconds_per_period,
      coalesce(v_memory.period_started_at, private.period_start(v_plan.period, clock_timestamp())),
      coalesce(v_memory.resets_at, private.period_end(v_plan.period, clock_timestamp())),
      coalesce(v_memory.used_seconds, 0), coalesce(v_memory.used_seconds, 0))
    on conflict (user_id) do nothing;
end $$;

-- The person's quota in the period that runs, locked; made at its first use.
create function private.quota_of(p_user_id uuid) returns public.avatar_quotas
language plpgsql set search_path = '' as $$
declare
  v_quota public.avatar_quotas;
begin
  perform from public.users where id = p_user_id for key share;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such person.');
  end if;
  select * into v_quota from public.avatar_quotas where user_id = p_user_id for update;
  if not found then
    perform private.open_quota(p_user_id);
    select * into strict v_quota from public.avatar_quotas where user_id = p_user_id for update;
  end if;
  if v_quota.resets_at <= clock_timestamp() then
    v_quota := private.begin_period(v_quota);
  end if;
  return v_quota;
end $$;

create function private.allowance(p_quota public.avatar_quotas) returns int language sql stable set search_path = '' as $$
  select (p_quota.limit_seconds + coalesce(sum(seconds), 0))::int from public.quota_grants
    where user_id = p_quota.user_id
      and (period_started_at is null or period_started_at = p_quota.period_started_at)
$$;
comment on function private.allowance(public.avatar_quotas) is 'The plan''s seconds in this period, and what was granted on top.';

create function private.remaining(p_quota public.avatar_quotas) returns int language sql stable set search_path = '' as $$
  select greatest(0, private.allowance(p_quota) - p_quota.used_seconds - p_quota.reserved_seconds)
$$;

create function private.quota_json(p_quota public.avatar_quotas) returns jsonb language sql stable set search_path = '' as $$
  select jsonb_build_object('plan', p_quota.plan, 'limit_seconds', private.allowance(p_quota),
    'used_seconds', p_quota.used_seconds, 'reserved_seconds', p_quota.reserved_seconds,
    'remaining_seconds', private.remaining(p_quota), 'resets_at', private.stamp(p_quota.resets_at))
$$;

create function private.avatar_session_json(p_session public.avatar_sessions) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('id', p_session.id, 'avatar_id', p_session.avatar_id, 'quality', p_session.quality,
    'language', p_session.language, 'status', p_session.status, 'reserved_seconds', p_session.reserved_seconds,
    'settled_seconds', p_session.settled_seconds, 'absorbed_seconds', p_session.absorbed_seconds,
    'estimated', p_session.estimated, 'created_at', private.stamp(p_session.created_at),
    'started_at', private.stamp(p_session.started_at),
    'last_keep_alive_at', private.stamp(p_session.last_keep_alive_at), 'ended_at', private.stamp(p_session.ended_at),
    'expires_at', private.stamp(p_session.expires_at))
$$;

-- Ending

-- The session with its person's quota, both locked, the quota first.
create function private.locked_avatar_session(p_session_id uuid) returns public.avatar_sessions
language plpgsql set search_path = '' as $$
declare
  v_session public.avatar_sessions;
begin
  select * into v_session from public.avatar_sessions where id = p_session_id;
  if v_session.id is null then
    perform private.refuse(404, 'not_found', 'There is no such avatar session.');
  end if;
  perform private.quota_of(v_session.user_id);
  select * into v_session from public.avatar_sessions where id = p_session_id for update;
  return v_session;
end $$;

-- Gives the reservation back to the period it was taken from, less what is charged. A deleted person's memory held the
-- whole of it.
create function private.return_reservation(p_session public.avatar_sessions, p_charged int) returns void
language plpgsql set search_path = '' as $$
begin
  update public.avatar_quotas
    set reserved_seconds = reserved_seconds - p_session.reserved_seconds, used_seconds = used_seconds + p_charged
    where user_id = p_session.user_id and period_started_at = p_session.period_started_at;
  update public.quota_memories m set used_seconds = greatest(0, m.used_seconds - (p_session.reserved_seconds - p_charged))
    from public.users u
    where u.id = p_session.user_id and u.status = 'deleted' and m.address_hash = private.address_hash(u.email)
      and m.period_started_at = p_session.period_started_at;
end $$;

create function private.release_reservation(p_session public.avatar_sessions) returns public.avatar_sessions
language plpgsql set search_path = '' as $$
declare
  v_session public.avatar_sessions;
begin
  perform private.return_reservation(p_session, 0);
  update public.avatar_sessions set status = 'released', ended_at = clock_timestamp()
    where id = p_session.id and (status in ('reserved', 'minting') or (status = 'stopping' and started_at is null))
    returning * into strict v_session;
  return v_session;
end $$;

create function private.book_avatar(p_session public.avatar_sessions) returns void
language sql set search_path = '' as $$
  insert into public.usage_events (id, user_id, kind, provider, unit, quantity, avatar_session_id)
    select gen_random_uuid(), p_session.user_id, 'avatar', 'liveavatar', line.unit, line.quantity, p_session.id
      from (values ('seconds', p_session.settled_seconds), ('absorbed_seconds', p_session.absorbed_seconds))
        as line (unit, quantity)
      where line.quantity > 0
$$;

create function private.settle_avatar(p_session public.avatar_sessions, p_seconds int, p_estimated boolean)
returns public.avatar_sessions language plpgsql set search_path = '' as $$
declare
  v_charged int := least(p_seconds, p_session.reserved_seconds);
  v_session public.avatar_sessions;
begin
  perform private.return_reservation(p_session, v_charged);
  update public.avatar_sessions
    set status = 'settled', settled_seconds = v_charged, absorbed_seconds = p_seconds - v_charged,
      estimated = p_estimated, ended_at = coalesce(ended_at, clock_timestamp())
    where id = p_session.id and status in ('minting', 'live', 'stopping') returning * into strict v_session;
  perform private.book_avatar(v_session);
  return v_session;
end $$;

-- What a person does

create function public.get_avatar_quota(p_entry jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
begin
  return private.answer(p_entry, v_entry, private.quota_json(private.quota_of(private.person_id())));
end $$;

-- A reservation that nobody began in time costs nothing and stands in nobody's way.
create function private.drop_expired(p_user_id uuid) returns void language plpgsql set search_path = '' as $$
declare
  v_session public.avatar_sessions;
begin
  select * into v_session from public.avatar_sessions
    where user_id = p_user_id and status = 'reserved' and expires_at <= clock_timestamp() for update;
  if found then
    perform private.release_reservation(v_session);
  end if;
end $$;

-- Sets aside what remains, at most p_seconds; refuses (402) where fewer than p_at_least remain. p_wanted is {avatar_id,
-- quality | null, language | null}. It must be begun within p_begin_seconds.
create function public.reserve_avatar_session(
  p_entry jsonb, p_id uuid, p_wanted jsonb, p_token_hash text, p_seconds int, p_begin_seconds int, p_at_least int default 1
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_quota public.avatar_quotas;
  v_session public.avatar_sessions;
  v_remaining int;
  v_extra text;
  v_detail text;
begin
  if p_entry ->> 'key' is null then
    perform private.refuse(400, 'idempotency_key_required', 'Send an Idempotency-Key with this request.');
  end if;
  if coalesce(p_seconds, 0) < 1 or coalesce(p_at_least, 0) not between 1 and p_seconds then
    perform private.refuse(422, 'seconds_invalid', 'A reservation has at least one second.');
  end if;
  v_entry := private.admit(p_entry, v_entry);
  if private.is_replay(v_entry) then
    return private.answer(p_entry, v_entry, null);
  end if;
  v_quota := private.quota_of(private.person_id());
  -- Whoever deleted their account while this waited for the quota has had it counted already.
  perform private.require_person();
  perform private.drop_expired(v_quota.user_id);
  select * into v_session from public.avatar_sessions
    where user_id = v_quota.user_id and status not in ('settled', 'released');
  if found then
    perform private.refuse(409, 'avatar_session_live', 'An avatar session is open already. Stop it first.',
      jsonb_build_object('session_id', v_session.id, 'session_status', v_session.status));
  end if;
  v_quota := private.quota_of(v_quota.user_id);
  v_remaining := private.remaining(v_quota);
  if v_remaining < p_at_least then
    perform private.refuse(402, 'quota_exhausted', 'No avatar time is left in this period.',
      jsonb_build_object('remaining_seconds', v_remaining, 'resets_at', private.stamp(v_quota.resets_at)));
  end if;
  insert into public.avatar_sessions (
      id, user_id, avatar_id, quality, language, reserved_seconds, period_started_at, token_hash, expires_at)
    values (p_id, v_quota.user_id, p_wanted ->> 'avatar_id', p_wanted ->> 'quality', p_wanted ->> 'language',
      least(p_seconds, v_remaining), v_quota.period_started_at, p_token_hash,
      clock_timestamp() + make_interval(secs => p_begin_seconds))
    returning * into v_session;
  update public.avatar_quotas set reserved_seconds = reserved_seconds + v_session.reserved_seconds
    where user_id = v_quota.user_id;
  return private.answer(p_entry, v_entry, private.avatar_session_json(v_session), 201);
exception when sqlstate 'PT400' or sqlstate 'PT401' or sqlstate 'PT402' or sqlstate 'PT409' or sqlstate 'PT422' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- Newest first. The cursor is the last item's {"at", "id"}.
create function public.list_avatar_sessions(p_entry jsonb, p_limit int default 20, p_cursor jsonb default null)
returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_limit int := private.page_size(p_limit);
  v_at timestamptz := (p_cursor ->> 'at')::timestamptz;
  v_id uuid := (p_cursor ->> 'id')::uuid;
  v_items jsonb;
  v_last jsonb;
begin
  select coalesce(jsonb_agg(private.avatar_session_json(page) order by page.created_at desc, page.id desc), '[]')
    into v_items from (
      select s.* from public.avatar_sessions s
        where s.user_id = private.person_id() and (v_at is null or (s.created_at, s.id) < (v_at, v_id))
        order by s.created_at desc, s.id desc limit v_limit + 1
    ) page;
  v_last := v_items -> (v_limit - 1);
  return private.answer(p_entry, v_entry, case when jsonb_array_length(v_items) > v_limit
    then jsonb_build_object('items', v_items - v_limit,
      'next', jsonb_build_object('at', v_last -> 'created_at', 'id', v_last -> 'id'))
    else jsonb_build_object('items', v_items, 'next', null) end);
end $$;

create function public.get_avatar_session(p_entry jsonb, p_session_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_session public.avatar_sessions;
  v_extra text;
  v_detail text;
begin
  select * into v_session from public.avatar_sessions where id = p_session_id and user_id = private.person_id();
  if v_session.id is null then
    perform private.refuse(404, 'not_found', 'There is no such avatar session.');
  end if;
  return private.answer(p_entry, v_entry, private.avatar_session_json(v_session));
exception when sqlstate 'PT404' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- What was never begun is released at once; what may run is to be stopped at the provider and then settled.
create function private.stop_avatar(p_session public.avatar_sessions) returns public.avatar_sessions
language plpgsql set search_path = '' as $$
declare
  v_session public.avatar_sessions := p_session;
begin
  if p_session.status = 'reserved' then
    return private.release_reservation(p_session);
  end if;
  update public.avatar_sessions set status = 'stopping', ended_at = clock_timestamp()
    where id = p_session.id and status in ('minting', 'live') returning * into v_session;
  return case when found then v_session else p_session end;
end $$;

create function public.stop_avatar_session(p_entry jsonb, p_session_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_session public.avatar_sessions;
  v_extra text;
  v_detail text;
begin
  perform from public.avatar_sessions where id = p_session_id and user_id = private.person_id();
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such avatar session.');
  end if;
  v_session := private.stop_avatar(private.locked_avatar_session(p_session_id));
  return private.answer(p_entry, v_entry, private.avatar_session_json(v_session));
exception when sqlstate 'PT404' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- With our session token, and for the provider's news: the server key

-- The open session of a token, locked. Whoever was suspended or deleted since is refused.
create function private.session_of_token(p_token_hash text) returns public.avatar_sessions
language plpgsql set search_path = '' as $$
declare
  v_session public.avatar_sessions;
begin
  select * into v_session from public.avatar_sessions where token_hash = p_token_hash;
  if v_session.id is null then
    perform private.refuse(401, 'token_invalid', 'This session token is not known.');
  end if;
  if (select status from public.users where id = v_session.user_id) is distinct from 'active' then
    perform private.refuse(401, 'person_inactive', 'This account is not active.');
  end if;
  v_session := private.locked_avatar_session(v_session.id);
  if v_session.status in ('settled', 'released') then
    perform private.refuse(410, 'avatar_session_ended', 'This avatar session has ended. Start a new one.');
  end if;
  return v_session;
end $$;

create function private.server_session_json(p_session public.avatar_sessions) returns jsonb
language sql stable set search_path = '' as $$
  select private.avatar_session_json(p_session)
    || jsonb_build_object('user_id', p_session.user_id, 'provider_session_id', p_session.provider_session_id)
$$;

-- Swaps the token: once. From here on the provider may run, until expires_at and no longer.
create function public.begin_avatar_session(p_entry jsonb, p_token_hash text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
  v_session public.avatar_sessions;
  v_extra text;
  v_detail text;
begin
  v_session := private.session_of_token(p_token_hash);
  if v_session.status <> 'reserved' then
    perform private.refuse(409, 'token_used', 'This session token has started a session already.');
  end if;
  if v_session.expires_at <= clock_timestamp() then
    perform private.refuse(410, 'avatar_session_ended', 'This avatar session was not started in time. Start a new one.');
  end if;
  update public.avatar_sessions
    set status = 'minting', expires_at = clock_timestamp() + make_interval(secs => reserved_seconds)
    where id = v_session.id returning * into v_session;
  return private.answer(p_entry, v_entry, private.server_session_json(v_session));
exception when sqlstate 'PT401' or sqlstate 'PT409' or sqlstate 'PT410' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- The provider started it. Told again, or after it ended, it changes nothing.
create function public.start_avatar_session(p_session_id uuid, p_provider_session_id text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_session public.avatar_sessions := private.locked_avatar_session(p_session_id);
begin
  if v_session.status = 'reserved' then
    perform private.refuse(409, 'avatar_session_not_begun', 'This avatar session has not been begun.');
  end if;
  if v_session.provider_session_id <> p_provider_session_id then
    perform private.refuse(409, 'avatar_session_live', 'This avatar session is another one at the provider.');
  end if;
  if v_session.status in ('minting', 'stopping') and v_session.started_at is null then
    update public.avatar_sessions
      set status = case when status = 'minting' then 'live' else status end,
        provider_session_id = p_provider_session_id, started_at = clock_timestamp()
      where id = p_session_id returning * into v_session;
  end if;
  return private.server_session_json(v_session);
end $$;

create function public.keep_avatar_alive(p_entry jsonb, p_token_hash text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
  v_session public.avatar_sessions;
  v_extra text;
  v_detail text;
begin
  v_session := private.session_of_token(p_token_hash);
  if v_session.status <> 'live' or v_session.expires_at <= clock_timestamp() then
    perform private.refuse(410, 'avatar_session_ended', 'This avatar session is not live.');
  end if;
  update public.avatar_sessions set last_keep_alive_at = clock_timestamp()
    where id = v_session.id returning * into v_session;
  return private.answer(p_entry, v_entry, private.server_session_json(v_session));
exception when sqlstate 'PT401' or sqlstate 'PT410' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

create function public.stop_avatar_by_token(p_entry jsonb, p_token_hash text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
  v_session public.avatar_sessions;
  v_extra text;
  v_detail text;
begin
  v_session := private.stop_avatar(private.session_of_token(p_token_hash));
  return private.answer(p_entry, v_entry, private.server_session_json(v_session));
exception when sqlstate 'PT401' or sqlstate 'PT410' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- By the provider's own record of the time. Told again, with whatever seconds, it changes nothing.
create function public.settle_avatar_session(p_session_id uuid, p_provider_seconds int) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_session public.avatar_sessions := private.locked_avatar_session(p_session_id);
begin
  if v_session.status in ('settled', 'released') then
    return private.server_session_json(v_session) || '{"changed": false}';
  end if;
  if v_session.status = 'reserved' then
    perform private.refuse(409, 'avatar_session_not_begun', 'This avatar session has not been begun.');
  end if;
  if coalesce(p_provider_seconds, -1) < 0 then
    perform private.refuse(422, 'seconds_invalid', 'The provider''s time is a number of seconds.');
  end if;
  return private.server_session_json(private.settle_avatar(v_session, p_provider_seconds, false)) || '{"changed": true}';
end $$;

-- p_never_ran: the provider's own list says that it never ran. Without that, only what was not begun is released.
create function public.release_avatar_session(p_session_id uuid, p_never_ran boolean default false) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_session public.avatar_sessions := private.locked_avatar_session(p_session_id);
begin
  if v_session.status in ('settled', 'released') then
    return private.server_session_json(v_session) || '{"changed": false}';
  end if;
  if v_session.status <> 'reserved' and not (v_session.started_at is null and p_never_ran) then
    perform private.refuse(409, 'avatar_session_may_run', 'This avatar session may run at the provider. Settle it.');
  end if;
  return private.server_session_json(private.release_reservation(v_session)) || '{"changed": true}';
end $$;

-- Housekeeping

-- Reservations that nobody began in time.
create function public.release_expired_reservations(p_limit int) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_session public.avatar_sessions;
  v_id uuid;
  v_released int := 0;
begin
  for v_id in
    select id from public.avatar_sessions where status = 'reserved' and expires_at <= clock_timestamp()
      order by user_id limit p_limit
  loop
    v_session := private.locked_avatar_session(v_id);
    if v_session.status = 'reserved' and v_session.expires_at <= clock_timestamp() then
      perform private.release_reservation(v_session);
      v_released := v_released + 1;
    end if;
  end loop;
  return jsonb_build_object('released', v_released);
end $$;

-- Sessions whose provider kept no record for a day after their end: by our own first and last sign of life, whole seconds
-- that have passed. One that was never seen started waits for the provider's list.
create function public.estimate_avatar_sessions(p_limit int) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_session public.avatar_sessions;
  v_id uuid;
  v_settled int := 0;
begin
  for v_id in
    select id from public.avatar_sessions
      where status in ('live', 'stopping') and started_at is not null
        and least(ended_at, expires_at) <= clock_timestamp() - interval '24 hours'
      order by user_id limit p_limit
  loop
    v_session := private.locked_avatar_session(v_id);
    if v_session.status in ('live', 'stopping') then
      perform private.settle_avatar(v_session, least(v_session.reserved_seconds, greatest(0, floor(extract(epoch from
        coalesce(v_session.last_keep_alive_at, v_session.started_at) - v_session.started_at))::int)), true);
      v_settled := v_settled + 1;
    end if;
  end loop;
  return jsonb_build_object('settled', v_settled);
end $$;

-- A page of the quotas whose period is over, in the order of their people, after p_after. Each is reset for itself: one
-- that cannot be is counted, and the others are not touched by it.
create function public.reset_avatar_quotas(p_limit int, p_after uuid default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_user_id uuid;
  v_seen int := 0;
  v_failed int := 0;
begin
  for v_user_id in
    select user_id from public.avatar_quotas
      where resets_at <= clock_timestamp() and (p_after is null or user_id > p_after) order by user_id limit p_limit
  loop
    v_seen := v_seen + 1;
    begin
      perform private.quota_of(v_user_id);
    exception when others then
      raise warning 'a quota was not reset: %', sqlstate;
      v_failed := v_failed + 1;
    end;
  end loop;
  delete from public.quota_memories where ctid in (
    select ctid from public.quota_memories where resets_at <= clock_timestamp() limit p_limit for update skip locked);
  return jsonb_build_object('reset', v_seen - v_failed, 'failed', v_failed,
    'next', case when v_seen = p_limit then v_user_id end);
end $$;

-- For administrators

-- p_changes is {"plan"?: text, "grant"?: {"seconds", "reason", "lasting"}}. A larger plan counts at once, a smaller one
-- from the next period on.
create function public.change_avatar_quota(p_entry jsonb, p_user_id uuid, p_changes jsonb, p_grant_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_quota public.avatar_quotas;
  v_plan public.plans;
  v_grant jsonb := nullif(p_changes -> 'grant', 'null');
  v_extra text;
  v_detail text;
begin
  perform private.require_administrator(v_entry);
  v_entry := private.admit(p_entry, v_entry);
  if private.is_replay(v_entry) then
    return private.answer(p_entry, v_entry, null);
  end if;
  if not exists (select from public.users where id = p_user_id and status <> 'deleted') then
    perform private.refuse(404, 'not_found', 'There is no such person.');
  end if;
  v_quota := private.quota_of(p_user_id);
  if p_changes ->> 'plan' is not null then
    select * into v_plan from public.plans where name = p_changes ->> 'plan';
    if v_plan.name is null then
      perform private.refuse(422, 'plan_unknown', 'There is no such plan.');
    end if;
    update public.avatar_quotas set plan = v_plan.name, limit_seconds = greatest(limit_seconds, v_plan.seconds_per_period)
      where user_id = p_user_id returning * into v_quota;
    perform private.audit('avatars.plan_changed', p_user_id, jsonb_build_object('plan', v_plan.name));
  end if;
  if v_grant is not null then
    insert into public.quota_grants (id, user_id, seconds, reason, period_started_at)
      values (p_grant_id, p_user_id, (v_grant ->> 'seconds')::int, v_grant ->> 'reason',
        case when (v_grant ->> 'lasting')::boolean then null else v_quota.period_started_at end);
    perform private.audit('avatars.seconds_granted', p_user_id,
      jsonb_build_object('seconds', v_grant -> 'seconds', 'lasting', v_grant -> 'lasting'));
  end if;
  return private.answer(p_entry, v_entry, private.quota_json(v_quota), 200);
exception when sqlstate 'PT403' or sqlstate 'PT404' or sqlstate 'PT409' or sqlstate 'PT422' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- Leaving

-- What is reserved counts as used until it has ended: see return_reservation.
create function private.remember_quota() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  v_quota public.avatar_quotas;
begin
  select * into v_quota from public.avatar_quotas where user_id = new.id for update;
  if found and v_quota.resets_at > clock_timestamp() and v_quota.used_seconds + v_quota.reserved_seconds > 0 then
    insert into public.quota_memories as held (address_hash, period_started_at, resets_at, used_seconds)
      values (private.address_hash(new.email), v_quota.period_started_at, v_quota.resets_at,
        v_quota.used_seconds + v_quota.reserved_seconds)
      on conflict (address_hash) do update set period_started_at = excluded.period_started_at,
        resets_at = excluded.resets_at, used_seconds = excluded.used_seconds;
  end if;
  return null;
end $$;

grant execute on function
  public.get_avatar_quota(jsonb), public.reserve_avatar_session(jsonb, uuid, jsonb, text, int, int, int),
  public.list_avatar_sessions(jsonb, int, jsonb), public.get_avatar_session(jsonb, uuid),
  public.stop_avatar_session(jsonb, uuid), public.change_avatar_quota(jsonb, uuid, jsonb, uuid)
  to authenticated;
grant execute on function
  public.begin_avatar_session(jsonb, text), public.start_avatar_session(uuid, text),
  public.keep_avatar_alive(jsonb, text), public.stop_avatar_by_token(jsonb, text),
  public.settle_avatar_session(uuid, int), public.release_avatar_session(uuid, boolean),
  public.release_expired_reservations(int), public.estimate_avatar_sessions(int), public.reset_avatar_quotas(int, uuid)
  to service_role;

reset role;
create trigger remember_quota after update of status on public.users for each row
  when (new.status = 'deleted' and old.status is distinct from 'deleted') execute function private.remember_quota();
revoke create on schema public, private from app_owner;
notify pgrst, 'reload schema';
