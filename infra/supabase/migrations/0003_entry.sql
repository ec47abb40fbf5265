-- How every use case begins and ends, in the one round trip it has.
--
-- p_entry is {"route": "POST /v1/sessions", "rate": {"per_minute", "burst"} | null,
--   "fleet": [{"name", "per_minute", "cost"}], "key": text | null, "fingerprint": hex | null, "address": text | null}.
--
-- A function that serves a person is written
--   declare v_entry jsonb := private.enter(p_entry);             identity, then the person's rate
--   begin
--     v_entry := private.admit(p_entry, v_entry);                idempotency, then the fleet's limits
--     if private.is_replay(v_entry) then return private.answer(p_entry, v_entry, null); end if;
--     …
--     return private.answer(p_entry, v_entry, data, 201);        the key gets its result
-- and answers {"entry": {"admin", "rate": {"limit", "remaining", "reset_seconds"} | null,
--   "replay": {"fingerprint", "status", "body"} | null}, "data": …}.

create unlogged table public.rate_limits (
  key text primary key,
  full_at timestamptz not null
);
create index rate_limits_full on public.rate_limits (full_at);
comment on table public.rate_limits is
  'GCRA: one theoretical arrival time for each limiter. Unlogged: after a crash everybody starts with a full allowance.';

create unlogged table public.fleet_uses (
  name text not null,
  second bigint not null,
  taken int not null check (taken > 0),
  primary key (name, second)
);
comment on table public.fleet_uses is
  'What was taken from each project-wide provider quota in each second of the last minute. Unlogged, as rate_limits.';

create table public.idempotency_keys (
  user_id uuid not null references public.users on delete cascade,
  route text not null,
  key text not null check (length(key) between 1 and 255),
  fingerprint text,
  state text not null default 'running' check (state in ('running', 'done')),
  lease_until timestamptz not null,
  turn_id uuid,
  status int,
  body jsonb,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null default now() + interval '24 hours',
  primary key (user_id, route, key),
  check (state = 'running' or status is not null)
);
create index idempotency_keys_turn on public.idempotency_keys (turn_id) where turn_id is not null;
create index idempotency_keys_expiry on public.idempotency_keys (expires_at);
comment on table public.idempotency_keys is
  'A person''s Idempotency-Key on a route: claimed while the request runs, then the answer that is given again, for a day.';

alter table public.rate_limits enable row level security;
alter table public.rate_limits force row level security;
alter table public.fleet_uses enable row level security;
alter table public.fleet_uses force row level security;
alter table public.idempotency_keys enable row level security;
alter table public.idempotency_keys force row level security;
create policy app on public.rate_limits for all to app_owner using (true) with check (true);
create policy app on public.fleet_uses for all to app_owner using (true) with check (true);
create policy app on public.idempotency_keys for all to app_owner
  using (user_id = (select private.person_id()) or (select private.is_server()))
  with check (user_id = (select private.person_id()) or (select private.is_server()));
grant select, insert, update, delete on public.rate_limits, public.fleet_uses, public.idempotency_keys to app_owner;

grant create on schema public, private to app_owner;
set local role app_owner;

-- Take p_cost from a limiter by GCRA, in one statement, so that parallel callers cannot take more than there is.
-- remaining counts against the burst; reset_seconds is the time until the whole burst is there again.
create function private.take(p_key text, p_per_minute numeric, p_burst numeric, p_cost numeric) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := clock_timestamp();
  v_step interval := make_interval(secs => 60.0 / p_per_minute);
  v_room interval := v_step * p_burst;
  v_full_at timestamptz;
begin
  if p_cost <= p_burst then
    insert into public.rate_limits as held (key, full_at) values (p_key, v_now + v_step * p_cost)
      on conflict (key) do update set full_at = greatest(held.full_at, v_now) + v_step * p_cost
      where greatest(held.full_at, v_now) + v_step * p_cost <= v_now + v_room
      returning full_at into v_full_at;
  end if;
  if v_full_at is not null then
    return jsonb_build_object('allowed', true, 'limit', p_burst,
      'remaining', floor(extract(epoch from v_room - (v_full_at - v_now)) / extract(epoch from v_step)),
      'reset_seconds', ceil(extract(epoch from v_full_at - v_now)));
  end if;
  select full_at into v_full_at from public.rate_limits where key = p_key;
  v_full_at := greatest(v_full_at, v_now);
  return jsonb_build_object('allowed', false, 'limit', p_burst, 'remaining', 0,
    'reset_seconds', ceil(extract(epoch from v_full_at - v_now)),
    'retry_after_seconds', greatest(1, ceil(extract(epoch from v_full_at + v_step * p_cost - v_room - v_now))));
end $$;

-- Limits fail open: a request is not lost because its bookkeeping is.
create function private.take_or_pass(p_key text, p_limit jsonb) returns jsonb
language plpgsql set search_path = '' set lock_timeout = '2s' as $$
begin
  if p_limit is null or jsonb_typeof(p_limit) <> 'object' then
    return null;
  end if;
  return private.take(p_key, (p_limit ->> 'per_minute')::numeric, (p_limit ->> 'burst')::numeric,
    coalesce((p_limit ->> 'cost')::numeric, 1));
exception when others then
  raise warning 'the limiter % was passed by: %', p_key, sqlerrm;
  return null;
end $$;

create function private.take_rate(p_subject text, p_entry jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_taken jsonb := private.take_or_pass(p_subject || ' ' || (p_entry ->> 'route'), p_entry -> 'rate');
begin
  if not (v_taken ->> 'allowed')::boolean then
    perform private.refuse(429, 'rate_limited', 'Too many requests. Wait before the next one.', v_taken - 'allowed');
  end if;
  return v_taken - 'allowed';
end $$;

-- Take p_cost from a project-wide quota: no sliding minute ever holds more than p_per_minute, and whatever a minute
-- allows may come at once, as the provider allows it. Seconds are counted whole, so one more of them is looked at.
-- Answers null when taken, or else the seconds until enough of it is free again.
create function private.take_quota(p_name text, p_per_minute int, p_cost int) returns int
language plpgsql set search_path = '' as $$
declare
  v_now bigint;
  v_taken int;
  v_free_at bigint;
begin
  perform pg_advisory_xact_lock(hashtextextended('fleet ' || p_name, 0));
  v_now := floor(extract(epoch from clock_timestamp()));
  delete from public.fleet_uses where name = p_name and second < v_now - 60;
  select coalesce(sum(taken), 0) into v_taken from public.fleet_uses where name = p_name;
  if v_taken + p_cost <= p_per_minute then
    insert into public.fleet_uses as held (name, second, taken) values (p_name, v_now, p_cost)
      on conflict (name, second) do update set taken = held.taken + excluded.taken;
    return null;
  end if;
  select min(second) into v_free_at from (
    select second, sum(taken) over (order by second) as freed from public.fleet_uses where name = p_name
  ) uses where freed >= v_taken + p_cost - p_per_minute;
  return greatest(1, coalesce(v_free_at, v_now) + 61 - v_now);
end $$;

create function private.take_quota_or_pass(p_limit jsonb) returns int
language plpgsql set search_path = '' set lock_timeout = '2s' as $$
begin
  return private.take_quota(
    p_limit ->> 'name', (p_limit ->> 'per_minute')::int, coalesce((p_limit ->> 'cost')::int, 1));
exception when others then
  raise warning 'the quota % was passed by: %', p_limit ->> 'name', sqlerrm;
  return null;
end $$;

-- In the order of their names, so that two requests that need the same quotas never wait for each other.
create function private.take_fleet(p_entry jsonb) returns void language plpgsql set search_path = '' as $$
declare
  v_limit jsonb;
  v_wait_seconds int;
begin
  for v_limit in
    select value from jsonb_array_elements(coalesce(nullif(p_entry -> 'fleet', 'null'), '[]')) order by value ->> 'name'
  loop
    v_wait_seconds := private.take_quota_or_pass(v_limit);
    if v_wait_seconds is not null then
      perform private.refuse(503, 'capacity', 'Everything is in use at the moment. Try again shortly.',
        jsonb_build_object('retry_after_seconds', v_wait_seconds));
    end if;
  end loop;
end $$;

create function private.enter(p_entry jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_admin boolean := private.require_person();
begin
  return jsonb_build_object('admin', v_admin, 'replay', null,
    'rate', private.take_rate('person ' || private.person_id(), p_entry));
end $$;
comment on function private.enter(jsonb) is 'Opens a request that serves a person: identity first, then their rate.';

create function private.enter_unsigned(p_entry jsonb) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_rate jsonb := private.take_rate('address ' || coalesce(p_entry ->> 'address', 'unknown'), p_entry);
begin
  perform private.take_fleet(p_entry);
  return jsonb_build_object('admin', false, 'replay', null, 'rate', v_rate);
end $$;
comment on function private.enter_unsigned(jsonb) is
  'Opens a request of nobody in particular, made with the server key: its rate counts by address, it has no key.';

-- The stored answer of a key that is finished; a claim whose lease ran out is finished by losing its turn.
create function private.replay_of(p_entry jsonb, p_turn_id uuid) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_held public.idempotency_keys;
begin
  select * into v_held from public.idempotency_keys
    where user_id = private.person_id() and route = p_entry ->> 'route' and key = p_entry ->> 'key' and expires_at > now();
  if v_held.fingerprint <> p_entry ->> 'fingerprint' then
    perform private.refuse(422, 'idempotency_key_reused', 'This Idempotency-Key was used for another request.');
  end if;
  if v_held.state = 'running' and v_held.lease_until > clock_timestamp()
    and not coalesce(v_held.turn_id = p_turn_id, false) then
    perform private.refuse(409, 'request_in_progress', 'The request with this Idempotency-Key is still running.',
      '{"retry_after_seconds": 1}');
  end if;
  if v_held.state = 'running' and private.lose_turn(v_held.turn_id) then
    return private.replay_of(p_entry, p_turn_id);
  end if;
  if v_held.state = 'done' then
    return jsonb_build_object('fingerprint', v_held.fingerprint, 'status', v_held.status, 'body', v_held.body);
  end if;
  return null;
end $$;

-- Whether the claim is new or taken over; false when the same request of the same turn asks again after a lost answer.
create function private.claim_key(p_entry jsonb, p_turn_id uuid, p_lease_seconds int) returns boolean
language plpgsql set search_path = '' as $$
declare
  v_lease timestamptz := clock_timestamp() + make_interval(secs => p_lease_seconds);
begin
  insert into public.idempotency_keys as held (user_id, route, key, fingerprint, turn_id, lease_until)
    values (private.person_id(), p_entry ->> 'route', p_entry ->> 'key', p_entry ->> 'fingerprint', p_turn_id, v_lease)
    on conflict (user_id, route, key) do update
      set fingerprint = excluded.fingerprint, state = 'running', turn_id = excluded.turn_id, lease_until = v_lease,
        status = null, body = null, created_at = now(), expires_at = now() + interval '24 hours'
      where held.expires_at <= now() or (held.state = 'running' and held.lease_until <= clock_timestamp());
  return found;
end $$;

-- Idempotency, then the fleet's limits: a replay takes nothing more.
create function private.admit(
  p_entry jsonb, p_state jsonb, p_turn_id uuid default null, p_lease_seconds int default 60
) returns jsonb language plpgsql set search_path = '' as $$
declare
  v_replay jsonb;
begin
  if p_entry ->> 'key' is not null then
    v_replay := private.replay_of(p_entry, p_turn_id);
    if v_replay is not null then
      return p_state || jsonb_build_object('replay', v_replay);
    end if;
    if not private.claim_key(p_entry, p_turn_id, p_lease_seconds) then
      -- Somebody else's claim came first, or was settled just now.
      v_replay := private.replay_of(p_entry, p_turn_id);
      return p_state || jsonb_build_object('replay', v_replay);
    end if;
  end if;
  perform private.take_fleet(p_entry);
  return p_state;
end $$;

create function private.is_replay(p_state jsonb) returns boolean language sql immutable set search_path = '' as $$
  select p_state -> 'replay' <> 'null'
$$;

create function private.settle_key(p_entry jsonb, p_status int, p_body jsonb, p_fingerprint text default null) returns void
language sql set search_path = '' as $$
  update public.idempotency_keys
    set state = 'done', status = p_status, body = p_body, fingerprint = coalesce(p_fingerprint, fingerprint)
    where user_id = private.person_id() and route = p_entry ->> 'route' and key = p_entry ->> 'key' and state = 'running'
$$;

create function private.answer(p_entry jsonb, p_state jsonb, p_data jsonb, p_status int default null) returns jsonb
language plpgsql set search_path = '' as $$
begin
  if p_status is not null and p_entry ->> 'key' is not null then
    perform private.settle_key(p_entry, p_status, p_data);
  end if;
  return jsonb_build_object('entry', p_state, 'data', p_data);
end $$;

-- For a request whose work is not in the database: it enters, works, and settles.
create function public.enter_only(p_entry jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_extra text;
  v_detail text;
begin
  return private.answer(p_entry, private.admit(p_entry, v_entry), '{}');
exception when sqlstate 'PT409' or sqlstate 'PT422' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- Finishes the claim of enter_only with its answer; without a status the claim is given up, and the key may be used again.
create function public.settle_entry(
  p_entry jsonb, p_status int default null, p_body jsonb default null, p_fingerprint text default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry - 'rate');
begin
  if p_status is null then
    delete from public.idempotency_keys
      where user_id = private.person_id() and route = p_entry ->> 'route' and key = p_entry ->> 'key' and state = 'running';
  else
    perform private.settle_key(p_entry, p_status, p_body, p_fingerprint);
  end if;
  return private.answer(p_entry, v_entry, '{}');
end $$;

grant execute on function public.enter_only(jsonb), public.settle_entry(jsonb, int, jsonb, text) to authenticated;

reset role;
revoke create on schema public, private from app_owner;
