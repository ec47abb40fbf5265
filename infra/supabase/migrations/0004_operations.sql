-- The ledger, the outbox, the inbox and housekeeping.

create table public.usage_events (
  id uuid primary key,
  user_id uuid not null references public.users on delete cascade,
  turn_id uuid,
  kind text not null,
  provider text not null,
  unit text not null,
  quantity numeric not null check (quantity >= 0),
  cost_micros bigint check (cost_micros >= 0),
  route text,
  created_at timestamptz not null default now()
);
create index usage_events_user on public.usage_events (user_id, created_at desc);
create index usage_events_turn on public.usage_events (turn_id) where turn_id is not null;
comment on table public.usage_events is
  'What was used and what it cost, append only: the functions may insert and select. An unknown cost is null, never 0.';

create table public.outbox (
  id uuid primary key,
  kind text not null,
  payload jsonb not null,
  attempts int not null default 0,
  next_attempt_at timestamptz not null default now(),
  lease_until timestamptz,
  last_error text,
  sent_at timestamptz,
  dead_at timestamptz,
  created_at timestamptz not null default now()
);
create index outbox_due on public.outbox (next_attempt_at) where sent_at is null and dead_at is null;
create index outbox_sent on public.outbox (sent_at) where sent_at is not null;
comment on table public.outbox is
  'News for mail servers, queues and other stores, written with the change it tells of and sent at least once.';

create table public.inbox (
  source text not null,
  message_id text not null,
  lease_until timestamptz not null,
  done_at timestamptz,
  created_at timestamptz not null default now(),
  primary key (source, message_id)
);
create index inbox_created on public.inbox (created_at);
comment on table public.inbox is 'Deliveries already seen, so that each has its effect once.';

alter table public.usage_events enable row level security;
alter table public.usage_events force row level security;
alter table public.outbox enable row level security;
alter table public.outbox force row level security;
alter table public.inbox enable row level security;
alter table public.inbox force row level security;
create policy app_read on public.usage_events for select to app_owner
  using (user_id = (select private.person_id()) or (select private.is_server()));
create policy app_append on public.usage_events for insert to app_owner
  with check (user_id = (select private.person_id()) or (select private.is_server()));
create policy app on public.outbox for all to app_owner
  using ((select private.is_server())) with check ((select private.is_server()));
create policy app on public.inbox for all to app_owner
  using ((select private.is_server())) with check ((select private.is_server()));
grant select, insert on public.usage_events to app_owner;
grant select, insert, update, delete on public.outbox, public.inbox to app_owner;

create policy own on public.usage_events for select to authenticated using (user_id = (select auth.uid()));
grant select on public.usage_events to authenticated;

grant create on schema public, private to app_owner;
set local role app_owner;

-- An item is {id, kind, provider, unit, quantity, cost_micros | null}, with turn_id and route of its own or the ones
-- given for all. The same id is booked once.
create function private.book(p_items jsonb, p_turn_id uuid default null, p_route text default null) returns int
language plpgsql set search_path = '' as $$
declare
  v_booked int;
begin
  insert into public.usage_events (id, user_id, turn_id, kind, provider, unit, quantity, cost_micros, route)
    select item.id, private.person_id(), coalesce(item.turn_id, p_turn_id), item.kind, item.provider, item.unit, item.quantity,
      item.cost_micros, coalesce(item.route, p_route)
    from jsonb_to_recordset(coalesce(nullif(p_items, 'null'), '[]')) as item (
      id uuid, turn_id uuid, kind text, provider text, unit text, quantity numeric, cost_micros bigint, route text)
    on conflict (id) do nothing;
  get diagnostics v_booked = row_count;
  return v_booked;
end $$;

create function public.record_usage(p_items jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  perform private.require_person();
  return jsonb_build_object('booked', private.book(p_items));
end $$;

create function private.post(p_id uuid, p_kind text, p_payload jsonb) returns void
language sql set search_path = '' as $$
  insert into public.outbox (id, kind, payload) values (p_id, p_kind, p_payload) on conflict (id) do nothing
$$;
comment on function private.post(uuid, text, jsonb) is 'Put something into the outbox, in the caller''s transaction.';

-- 12 attempts, 15 s apart at first and an hour at most: about six hours before an entry is dead.
create function private.retry_outbox(p_id uuid, p_error text) returns void language sql set search_path = '' as $$
  update public.outbox
    set attempts = attempts + 1, lease_until = null, last_error = left(p_error, 500),
      next_attempt_at = now() + least(interval '1 hour', interval '15 seconds' * power(2, attempts)),
      dead_at = case when attempts + 1 >= 12 then now() end
    where id = p_id and sent_at is null and dead_at is null
$$;

-- What is due and nobody holds. An entry whose last holder vanished has used up an attempt, so that one which kills
-- its sender dies in the end.
create function public.take_outbox(p_limit int, p_lease_seconds int, p_ids uuid[] default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_ids uuid[];
begin
  select array_agg(due.id) into v_ids from (
    select id from public.outbox
      where sent_at is null and dead_at is null and next_attempt_at <= now()
        and (lease_until is null or lease_until <= now()) and (p_ids is null or id = any (p_ids))
      order by next_attempt_at, id limit p_limit for update skip locked
  ) due;
  perform private.retry_outbox(id, 'the sender vanished') from public.outbox
    where id = any (v_ids) and lease_until is not null;
  update public.outbox set lease_until = now() + make_interval(secs => p_lease_seconds)
    where id = any (v_ids) and dead_at is null;
  return coalesce((
    select jsonb_agg(jsonb_build_object('id', id, 'kind', kind, 'payload', payload, 'attempts', attempts)
        order by created_at, id)
      from public.outbox where id = any (v_ids) and dead_at is null), '[]');
end $$;

create function public.settle_outbox(p_id uuid, p_error text default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry public.outbox;
begin
  if p_error is null then
    update public.outbox set sent_at = now(), payload = '{}', lease_until = null, last_error = null, dead_at = null
      where id = p_id and sent_at is null;
  else
    perform private.retry_outbox(p_id, p_error);
  end if;
  select * into v_entry from public.outbox where id = p_id;
  return jsonb_build_object('attempts', v_entry.attempts, 'next_attempt_at', private.stamp(v_entry.next_attempt_at),
    'state', case when v_entry.id is null then 'unknown' when v_entry.sent_at is not null then 'sent'
      when v_entry.dead_at is not null then 'dead' else 'waiting' end);
end $$;

-- first: the caller is to do the work. state: new, running (somebody's lease; with first: that lease ran out), done.
create function public.take_delivery(p_source text, p_message_id text, p_lease_seconds int) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_lease timestamptz := clock_timestamp() + make_interval(secs => p_lease_seconds);
  v_done boolean;
begin
  insert into public.inbox (source, message_id, lease_until) values (p_source, p_message_id, v_lease)
    on conflict do nothing;
  if found then
    return '{"first": true, "state": "new"}';
  end if;
  update public.inbox set lease_until = v_lease
    where source = p_source and message_id = p_message_id and done_at is null and lease_until <= clock_timestamp();
  if found then
    return '{"first": true, "state": "running"}';
  end if;
  select done_at is not null into v_done from public.inbox where source = p_source and message_id = p_message_id;
  return jsonb_build_object('first', false, 'state', case when v_done then 'done' else 'running' end);
end $$;

create function public.settle_delivery(p_source text, p_message_id text) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  update public.inbox set done_at = now() where source = p_source and message_id = p_message_id and done_at is null;
  return jsonb_build_object('settled', found);
end $$;

-- What nobody can need any more, at most p_limit rows of each kind; answers how many of each went.
create function public.purge(p_limit int) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_gone jsonb := '{}';
  v_count int;
begin
  delete from public.idempotency_keys where ctid in (
    select ctid from public.idempotency_keys where expires_at < now() limit p_limit for update skip locked);
  get diagnostics v_count = row_count;
  v_gone := v_gone || jsonb_build_object('idempotency_keys', v_count);
  delete from public.rate_limits where ctid in (
    select ctid from public.rate_limits where full_at < now() limit p_limit for update skip locked);
  get diagnostics v_count = row_count;
  v_gone := v_gone || jsonb_build_object('rate_limits', v_count);
  delete from public.fleet_uses where second < extract(epoch from now()) - 120;
  delete from public.refresh_tokens where ctid in (
    select ctid from public.refresh_tokens where expires_at < now() - interval '7 days' limit p_limit for update skip locked);
  get diagnostics v_count = row_count;
  v_gone := v_gone || jsonb_build_object('refresh_tokens', v_count);
  delete from public.one_time_tokens where ctid in (
    select ctid from public.one_time_tokens where expires_at < now() - interval '7 days' limit p_limit for update skip locked);
  get diagnostics v_count = row_count;
  v_gone := v_gone || jsonb_build_object('one_time_tokens', v_count);
  delete from public.outbox where ctid in (
    select ctid from public.outbox where sent_at < now() - interval '7 days' limit p_limit for update skip locked);
  get diagnostics v_count = row_count;
  v_gone := v_gone || jsonb_build_object('outbox', v_count);
  delete from public.inbox where ctid in (
    select ctid from public.inbox where created_at < now() - interval '31 days' and done_at is not null
      limit p_limit for update skip locked);
  get diagnostics v_count = row_count;
  return v_gone || jsonb_build_object('inbox', v_count);
end $$;

create function public.ping() returns jsonb language sql stable security definer set search_path = '' as $$
  select '{"ok": true}'::jsonb
$$;

grant execute on function public.record_usage(jsonb) to authenticated;
grant execute on function public.take_outbox(int, int, uuid[]), public.settle_outbox(uuid, text),
  public.take_delivery(text, text, int), public.settle_delivery(text, text), public.purge(int), public.ping()
  to service_role;

reset role;
revoke create on schema public, private from app_owner;
