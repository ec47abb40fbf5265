-- Suspension, restoration, deletion, erasure, export.
--
-- A person who is suspended or deleted is refused from the moment that commits: the gate asks for their status at every
-- request. What runs beside requests is told through the outbox: person_suspended ends what goes on outside the
-- database, erase_person removes a deleted person from every place that holds something of them.
--
-- Locks are taken in one order everywhere: the person, the session, its turn, the turn's idempotency key.

alter table public.users
  add column suspended_at timestamptz,
  add column suspension_reason text check (length(suspension_reason) between 1 and 500),
  add column deleted_at timestamptz;

-- Whatever reasons there are stay allowed.
do $$
declare
  v_held record;
begin
  for v_held in
    select conname, pg_get_expr(conbin, conrelid) as allows from pg_constraint
      where conrelid = 'public.sign_ins'::regclass and contype = 'c' and pg_get_expr(conbin, conrelid) like '%end_reason%'
  loop
    execute format('alter table public.sign_ins drop constraint %I', v_held.conname);
    execute format('alter table public.sign_ins add constraint %I check (%s or end_reason in (%L, %L))',
      v_held.conname, v_held.allows, 'person_suspended', 'person_deleted');
  end loop;
end $$;

alter table public.outbox add column until_done boolean not null default false;
comment on column public.outbox.until_done is 'Tried until it is done, however often that fails: such an entry never dies.';
create index outbox_recipient on public.outbox (lower(payload ->> 'to')) where sent_at is null;
create index outbox_person on public.outbox ((payload ->> 'person_id')) where sent_at is null;

grant delete on public.users, public.sign_ins, public.messages, public.turns to app_owner;

-- Policies ask it whether a request may touch anybody's rows. An administrator may, inside a function that has let them
-- in by require_administrator and until its transaction ends; nobody else can set what is asked for here.
create or replace function private.is_server() returns boolean language sql stable set search_path = ''
begin atomic
  select coalesce(auth.jwt() ->> 'role', '') = 'service_role'
    or coalesce(current_setting('private.administering', true), '') = 'on';
end;
comment on function private.is_server() is
  'Whether this request acts for anyone: the server key made it, or require_administrator has let an administrator in.';

grant create on schema public, private to app_owner;
set local role app_owner;

create or replace function private.require_administrator(p_state jsonb) returns void
language plpgsql set search_path = '' as $$
begin
  if not coalesce((p_state ->> 'admin')::boolean, false) then
    perform private.refuse(403, 'administrators_only', 'Only an administrator may do this.');
  end if;
  perform pg_catalog.set_config('private.administering', 'on', true);
end $$;
comment on function private.require_administrator(jsonb) is
  'Refuses (403) whoever private.enter found to be no administrator; lets the others at everybody''s rows.';

-- As before, and it says whether the account is suspended or deleted: a person who deletes themself and did not get the
-- answer asks again.
create or replace function private.require_person() returns boolean language plpgsql stable set search_path = '' as $$
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
    perform private.refuse(401, 'person_inactive', 'This account is not active.',
      jsonb_build_object('account', coalesce(v_status, 'deleted')));
  end if;
  if not v_living then
    perform private.refuse(401, 'sign_in_ended', 'This sign-in has ended. Sign in again.');
  end if;
  return v_admin;
exception when invalid_text_representation then
  perform private.refuse(401, 'token_invalid', 'The access token names no person or sign-in.');
end $$;

-- close_turn asks for the person itself: it refuses as the gate would, and keeps what the turn had used by then.
create or replace function private.gate() returns void language plpgsql stable security definer set search_path = '' as $$
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
  if current_setting('request.path', true) = '/rpc/close_turn' then
    return;
  end if;
  perform private.require_person();
end $$;

-- Whoever begins what goes on after its transaction holds the person first: either it is begun and a suspension, which
-- waits, ends it; or the suspension was first, and nothing begins.
create function private.hold_person() returns void language plpgsql set search_path = '' as $$
begin
  perform from public.users where id = private.person_id() and status = 'active' for share;
  if not found then
    perform private.refuse(401, 'person_inactive', 'This account is not active.');
  end if;
end $$;
comment on function private.hold_person() is
  'Keeps the person of the request active until the transaction ends. Before any other lock.';

create or replace function public.open_turn(
  p_entry jsonb, p_session_id uuid, p_turn_id uuid, p_kind text, p_capability_hash text, p_history int,
  p_lease_seconds int
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_session public.sessions;
  v_turn public.turns;
  v_extra text;
  v_detail text;
begin
  perform private.hold_person();
  v_entry := private.admit(p_entry, v_entry, p_turn_id, p_lease_seconds);
  if private.is_replay(v_entry) then
    return private.answer(p_entry, v_entry, null);
  end if;
  v_session := private.own_session(p_session_id, true);
  if v_session.status <> 'active' then
    perform private.refuse(409, 'session_ended', 'This session has ended. Start another one.');
  end if;
  select * into v_turn from public.turns where session_id = p_session_id and status = 'running';
  if v_turn.id is not null and v_turn.id <> p_turn_id and not private.lose_turn(v_turn.id) then
    perform private.refuse(409, 'turn_in_progress', 'A turn is still running in this session.',
      jsonb_build_object('turn_id', v_turn.id, 'retry_after_seconds', 1));
  end if;
  if v_turn.id is distinct from p_turn_id then
    update public.sessions set last_ordinal = last_ordinal + 1 where id = p_session_id returning * into v_session;
    insert into public.turns (id, session_id, user_id, ordinal, kind, lease_until, capability_hash)
      values (p_turn_id, p_session_id, v_session.user_id, v_session.last_ordinal, p_kind,
        clock_timestamp() + make_interval(secs => p_lease_seconds), p_capability_hash)
      returning * into v_turn;
  end if;
  return private.answer(p_entry, v_entry, private.turn_context(v_session, v_turn, p_history));
exception when sqlstate 'PT404' or sqlstate 'PT409' or sqlstate 'PT422' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- Close a person's running turns as failed, because p_code; their capabilities die, their keys answer with that
-- failure. Without a turn all of them. Answers how many.
create function private.end_turns(p_user_id uuid, p_code text, p_turn_id uuid default null) returns int
language plpgsql set search_path = '' as $$
declare
  v_turn_id uuid;
  v_problem jsonb;
  v_ended int := 0;
begin
  for v_turn_id in
    select id from public.turns
      where user_id = p_user_id and status = 'running' and (p_turn_id is null or id = p_turn_id) order by id for update
  loop
    v_problem := jsonb_build_object(
      'type', 'urn:oprina:problem:' || p_code, 'title', 'Conflict', 'status', 409, 'code', p_code, 'instance', null,
      'detail', case p_code
        when 'person_suspended' then 'The account was suspended while this turn ran.'
        when 'person_deleted' then 'The account was deleted while this turn ran.'
        else 'The sign-in ended while this turn ran. Ask again.' end,
      'request_id', null, 'retryable', false, 'turn_id', v_turn_id);
    update public.turns set status = 'failed', code = p_code, problem = v_problem, capability_hash = null,
        completed_at = clock_timestamp()
      where id = v_turn_id;
    update public.idempotency_keys set state = 'done', status = 409, body = v_problem
      where turn_id = v_turn_id and state = 'running';
    v_ended := v_ended + 1;
  end loop;
  return v_ended;
end $$;

-- The last word of a turn whose person may not act any more: nothing that was said is stored, and what it used until
-- then was used, so it is in the ledger and in the turn. Of a deleted person nothing is written any more.
create function private.close_ended(p_turn_id uuid, p_outcome jsonb, p_route text) returns void
language plpgsql set search_path = '' as $$
declare
  v_status text;
begin
  select status into v_status from public.users where id = private.person_id() for share;
  if v_status is distinct from 'active' and v_status is distinct from 'suspended' then
    return;
  end if;
  perform private.end_turns(private.person_id(),
    case v_status when 'suspended' then 'person_suspended' else 'sign_in_ended' end, p_turn_id);
  update public.turns set usage = p_outcome -> 'usage', cost_micros = (p_outcome ->> 'cost_micros')::bigint,
      timings_ms = p_outcome -> 'timings_ms'
    where id = p_turn_id and user_id = private.person_id() and usage is null
      and code in ('person_suspended', 'sign_in_ended', 'turn_lost');
  if found then
    perform private.book(p_outcome -> 'usage', p_turn_id, p_route);
  end if;
end $$;

-- Closing again with the same outcome gives the same answer, so that a lost answer can be asked for again.
create or replace function public.close_turn(p_entry jsonb, p_turn_id uuid, p_outcome jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb;
  v_hash text := encode(sha256(convert_to(p_outcome::text, 'UTF8')), 'hex');
  v_turn public.turns;
  v_outcome jsonb := p_outcome;
  v_code text;
  v_extra text;
  v_detail text;
begin
  begin
    v_entry := private.enter(p_entry);
  exception when sqlstate 'PT401' then
    get stacked diagnostics v_code = message_text, v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  end;
  if v_entry is null then
    if v_code in ('person_inactive', 'sign_in_ended') then
      perform private.close_ended(p_turn_id, p_outcome, p_entry ->> 'route');
    end if;
    return private.refused('PT401', v_code, v_extra, v_detail);
  end if;
  perform from public.sessions
    where id = (select session_id from public.turns where id = p_turn_id and user_id = private.person_id()) for update;
  select * into v_turn from public.turns where id = p_turn_id and user_id = private.person_id() for update;
  if v_turn.status = 'running' then
    if v_turn.interrupted then
      v_outcome := private.interrupt_outcome(p_outcome, v_turn.played_seq, v_turn.played_ms);
    end if;
    perform private.store_outcome(v_turn, v_outcome, v_hash, p_entry ->> 'route');
    return private.answer(p_entry, v_entry, nullif(v_outcome -> 'result', 'null'));
  end if;
  if v_turn.outcome_hash = v_hash then
    return private.answer(p_entry, v_entry, v_turn.result);
  end if;
  return private.close_lost(p_turn_id, p_outcome, p_entry ->> 'route');
end $$;

-- Suspending, restoring

-- One at a time, so that two administrators who suspend each other do not both succeed.
create function private.suspend(p_user_id uuid, p_reason text, p_outbox_id uuid) returns public.users
language plpgsql set search_path = '' as $$
declare
  v_user public.users;
  v_sign_ins int;
  v_turns int;
begin
  perform pg_advisory_xact_lock(hashtextextended('administrators', 0));
  -- Whoever waited for the lock may have been suspended meanwhile.
  if private.person_id() is not null then
    perform private.hold_person();
  end if;
  select * into v_user from public.users where id = p_user_id and status <> 'deleted' for no key update;
  if v_user.id is null then
    perform private.refuse(404, 'not_found', 'There is no such person.');
  end if;
  if p_user_id = private.person_id() then
    perform private.refuse(409, 'own_account', 'Nobody suspends themself.');
  end if;
  if v_user.status = 'suspended' then
    return v_user;
  end if;
  if v_user.is_admin and not exists (
    select from public.users where is_admin and status = 'active' and id <> p_user_id
  ) then
    perform private.refuse(409, 'last_administrator', 'This is the last administrator. Make another one first.');
  end if;
  update public.users set status = 'suspended', suspended_at = clock_timestamp(), suspension_reason = p_reason
    where id = p_user_id returning * into v_user;
  update public.sign_ins set ended_at = clock_timestamp(), end_reason = 'person_suspended'
    where user_id = p_user_id and ended_at is null;
  get diagnostics v_sign_ins = row_count;
  v_turns := private.end_turns(p_user_id, 'person_suspended');
  insert into public.outbox (id, kind, payload, until_done) values (p_outbox_id, 'person_suspended',
    jsonb_build_object('person_id', p_user_id, 'at', private.stamp(v_user.suspended_at)), true);
  perform private.audit('accounts.suspended', p_user_id,
    jsonb_build_object('sign_ins_ended', v_sign_ins, 'turns_ended', v_turns));
  return v_user;
end $$;
comment on function private.suspend(uuid, text, uuid) is
  'Suspends a person, ends their sign-ins and running turns. Who is suspended already stays as they are.';

create function private.restore(p_user_id uuid) returns public.users language plpgsql set search_path = '' as $$
declare
  v_user public.users;
begin
  select * into v_user from public.users where id = p_user_id and status <> 'deleted' for no key update;
  if v_user.id is null then
    perform private.refuse(404, 'not_found', 'There is no such person.');
  end if;
  if v_user.status = 'suspended' then
    update public.users set status = 'active', suspended_at = null, suspension_reason = null
      where id = p_user_id returning * into v_user;
    perform private.audit('accounts.restored', p_user_id);
  end if;
  return v_user;
end $$;
comment on function private.restore(uuid) is 'Gives a suspended person access again. Their sign-ins stay ended.';

create function public.suspend_person(p_entry jsonb, p_user_id uuid, p_reason text, p_outbox_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_user public.users;
  v_extra text;
  v_detail text;
begin
  perform private.require_administrator(v_entry);
  v_user := private.suspend(p_user_id, p_reason, p_outbox_id);
  return private.answer(p_entry, v_entry, jsonb_build_object('id', v_user.id, 'status', v_user.status));
exception when sqlstate 'PT401' or sqlstate 'PT403' or sqlstate 'PT404' or sqlstate 'PT409' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

create function public.restore_person(p_entry jsonb, p_user_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_user public.users;
  v_extra text;
  v_detail text;
begin
  perform private.require_administrator(v_entry);
  v_user := private.restore(p_user_id);
  return private.answer(p_entry, v_entry, jsonb_build_object('id', v_user.id, 'status', v_user.status));
exception when sqlstate 'PT403' or sqlstate 'PT404' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- Deleting

-- The address is free at once. The row keeps it until the goodbye mail has left, and goes with everything else.
create function private.delete_account(p_user_id uuid, p_goodbye_id uuid, p_goodbye jsonb, p_erasure_id uuid)
returns public.users language plpgsql set search_path = '' as $$
declare
  v_user public.users;
begin
  update public.users set status = 'deleted', deleted_at = clock_timestamp(), password_hash = null
    where id = p_user_id and status <> 'deleted' returning * into v_user;
  if v_user.id is null then
    return null;
  end if;
  update public.sign_ins set ended_at = clock_timestamp(), end_reason = 'person_deleted'
    where user_id = p_user_id and ended_at is null;
  perform private.end_turns(p_user_id, 'person_deleted');
  insert into public.outbox (id, kind, payload) values (p_goodbye_id, 'mail',
    p_goodbye || jsonb_build_object('to', v_user.email));
  insert into public.outbox (id, kind, payload, until_done) values (p_erasure_id, 'erase_person',
    jsonb_build_object('person_id', p_user_id, 'at', private.stamp(v_user.deleted_at), 'goodbye_id', p_goodbye_id), true);
  perform private.audit('accounts.deleted', p_user_id);
  return v_user;
end $$;

create function public.delete_me(p_entry jsonb, p_goodbye_id uuid, p_goodbye jsonb, p_erasure_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
begin
  perform private.delete_account(private.person_id(), p_goodbye_id, p_goodbye, p_erasure_id);
  return private.answer(p_entry, v_entry, '{}');
end $$;
comment on function public.delete_me(jsonb, uuid, jsonb, uuid) is
  'Marks the person deleted and leaves the goodbye mail, whose recipient is filled in here, and the erasure behind.';

-- For the administration tool, by address

create function private.person_of(p_email text) returns uuid language plpgsql set search_path = '' as $$
declare
  v_user_id uuid;
begin
  select id into v_user_id from public.users where lower(email) = lower(p_email) and status <> 'deleted';
  if v_user_id is null then
    perform private.refuse(404, 'not_found', 'Nobody has this address.');
  end if;
  return v_user_id;
end $$;

create function public.suspend_address(p_email text, p_reason text, p_outbox_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_user public.users := private.suspend(private.person_of(p_email), p_reason, p_outbox_id);
begin
  return jsonb_build_object('id', v_user.id, 'status', v_user.status);
end $$;

create function public.restore_address(p_email text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_user public.users := private.restore(private.person_of(p_email));
begin
  return jsonb_build_object('id', v_user.id, 'status', v_user.status);
end $$;

create function public.delete_address(p_email text, p_goodbye_id uuid, p_goodbye jsonb, p_erasure_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_user public.users := private.delete_account(private.person_of(p_email), p_goodbye_id, p_goodbye, p_erasure_id);
begin
  return jsonb_build_object('id', v_user.id, 'status', v_user.status);
end $$;

-- Erasing

-- As before, but an entry that is to be tried until it is done does not die, and its waits stop growing.
create or replace function private.retry_outbox(p_id uuid, p_error text) returns void
language sql set search_path = '' as $$
  update public.outbox
    set attempts = attempts + 1, lease_until = null, last_error = left(p_error, 500),
      next_attempt_at = now() + least(interval '1 hour', interval '15 seconds' * power(2, least(attempts, 12))),
      dead_at = case when attempts + 1 >= 12 and not until_done then now() end
    where id = p_id and sent_at is null and dead_at is null
$$;

-- Nothing is erased of somebody who has not been deleted. Who is gone already may be erased again.
create function private.require_deleted(p_user_id uuid) returns void language plpgsql set search_path = '' as $$
begin
  if exists (select from public.users where id = p_user_id and status <> 'deleted') then
    perform private.refuse(409, 'person_not_deleted', 'This person has not been deleted.');
  end if;
end $$;

-- The column of a table of public that says whose a row is, as a part of a statement; refused where there is none.
create function private.owner_column(p_table text) returns text language plpgsql stable set search_path = '' as $$
declare
  v_column text := case when p_table = 'users' then 'id' else 'user_id' end;
begin
  if not exists (
    select from pg_catalog.pg_attribute
      where attrelid = to_regclass(format('public.%I', p_table)) and attname = v_column and not attisdropped
  ) then
    perform private.refuse(404, 'not_found', 'No table of this name says whose its rows are.');
  end if;
  return v_column;
end $$;

create function public.erase_rows(p_user_id uuid, p_table text, p_limit int) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_column text := private.owner_column(p_table);
  v_erased int;
begin
  perform private.require_deleted(p_user_id);
  execute format('delete from public.%I where ctid in (select ctid from public.%I where %I = $1 limit $2)',
    p_table, p_table, v_column) using p_user_id, p_limit;
  get diagnostics v_erased = row_count;
  return jsonb_build_object('erased', v_erased);
end $$;
comment on function public.erase_rows(uuid, text, int) is
  'Erases at most p_limit rows of a deleted person from a table whose user_id says whose they are.';

create function public.erase_limits(p_user_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_erased int;
begin
  perform private.require_deleted(p_user_id);
  delete from public.rate_limits where starts_with(key, 'person ' || p_user_id || ' ');
  get diagnostics v_erased = row_count;
  return jsonb_build_object('erased', v_erased);
end $$;

-- Unsent mails to a deleted person's address, and news of them. A mail that was written after the deletion is for
-- whoever has the address now. The goodbye is waited for until it was sent or could not be.
create function public.erase_mails(p_user_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_goodbye uuid;
  v_erased int;
begin
  perform private.require_deleted(p_user_id);
  select (payload ->> 'goodbye_id')::uuid into v_goodbye from public.outbox
    where kind = 'erase_person' and payload ->> 'person_id' = p_user_id::text and sent_at is null;
  delete from public.outbox o using public.users u
    where u.id = p_user_id and o.sent_at is null and o.kind <> 'erase_person'
      and (o.payload ->> 'person_id' = p_user_id::text
        or (lower(o.payload ->> 'to') = lower(u.email) and o.created_at <= u.deleted_at))
      and (o.id is distinct from v_goodbye or o.dead_at is not null);
  get diagnostics v_erased = row_count;
  return jsonb_build_object('erased', v_erased,
    'waiting', exists (select from public.outbox where id = v_goodbye and sent_at is null));
end $$;

-- The last place: the row itself, and with it whatever still refers to it. The audit key goes too, so that nobody can
-- tell any more whose the entries were, this one included.
create function public.erase_person(p_user_id uuid) returns jsonb
language plpgsql security definer set search_path = '' set statement_timeout = '60s' as $$
declare
  v_erased int;
begin
  perform private.require_deleted(p_user_id);
  perform from public.users where id = p_user_id for update;
  if found then
    perform private.audit('accounts.erased', p_user_id);
  end if;
  -- What was written to us from their address before they signed in is theirs as well.
  delete from public.contact_cases c using public.users u where u.id = p_user_id and lower(c.email) = lower(u.email);
  delete from public.users where id = p_user_id;
  get diagnostics v_erased = row_count;
  return jsonb_build_object('erased', v_erased);
end $$;

create function public.waiting_erasures() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  return (
    select jsonb_build_object('waiting', count(*), 'failing', count(*) filter (where attempts > 0),
        'oldest_at', private.stamp(min(created_at)))
      from public.outbox where kind = 'erase_person' and sent_at is null);
end $$;

-- Exporting

-- A page of a person's rows, in the order of their keys: exactly the columns that the person may read with a token of
-- their own, so never a hash or a sealed value. p_after is the last key of the page before.
create function public.export_rows(p_user_id uuid, p_table text, p_after text, p_limit int) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_owner text := private.owner_column(p_table);
  v_table constant regclass := to_regclass(format('public.%I', p_table));
  v_key record;
  v_columns text;
  v_rows jsonb;
begin
  select attname as name, format_type(atttypid, null) as type into v_key from pg_catalog.pg_attribute
    where attrelid = v_table and attname in ('id', v_owner) order by attname = 'id' desc limit 1;
  select string_agg(format('%I', attname), ', ' order by attnum) into v_columns from pg_catalog.pg_attribute
    where attrelid = v_table and attnum > 0 and not attisdropped
      and has_column_privilege('authenticated', attrelid, attnum, 'select');
  if v_columns is null then
    perform private.refuse(404, 'not_found', 'No column of this table is for the person.');
  end if;
  execute format(
    'select coalesce(jsonb_agg(jsonb_build_object(''key'', page._key, ''row'', to_jsonb(page) - ''_key'')), ''[]'') from ('
      'select %1$I::text as _key, %2$s from public.%3$I'
      ' where %4$I = $1 and ($2 is null or %1$I > $2::%5$s) order by %1$I limit $3) page',
    v_key.name, v_columns, p_table, v_owner, v_key.type) into v_rows using p_user_id, p_after, p_limit;
  return jsonb_build_object('rows', coalesce(jsonb_path_query_array(v_rows, '$[*].row'), '[]'),
    'next', case when jsonb_array_length(v_rows) = p_limit then v_rows -> -1 ->> 'key' end);
end $$;

-- What the audit log says of a person. Who did it is left out: an administrator's name there is theirs.
create function public.export_audit(p_user_id uuid, p_after text, p_limit int) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_subject text := private.audit_name(p_user_id);
  v_at timestamptz := (p_after::jsonb ->> 'at')::timestamptz;
  v_id uuid := (p_after::jsonb ->> 'id')::uuid;
  v_rows jsonb;
  v_last jsonb;
begin
  select coalesce(jsonb_agg(jsonb_build_object('id', page.id, 'at', private.stamp(page.at), 'by', page.actor_kind,
      'action', page.action, 'detail', page.detail) order by page.at, page.id), '[]') into v_rows from (
    select * from public.audit_log
      where subject = v_subject and (v_at is null or (at, id) > (v_at, v_id)) order by at, id limit p_limit
  ) page;
  v_last := v_rows -> -1;
  return jsonb_build_object('rows', v_rows, 'next', case when jsonb_array_length(v_rows) = p_limit
    then jsonb_build_object('at', v_last -> 'at', 'id', v_last -> 'id')::text end);
end $$;

grant execute on function
  public.suspend_person(jsonb, uuid, text, uuid), public.restore_person(jsonb, uuid),
  public.delete_me(jsonb, uuid, jsonb, uuid)
  to authenticated;
grant execute on function
  public.suspend_address(text, text, uuid), public.restore_address(text), public.delete_address(text, uuid, jsonb, uuid),
  public.erase_rows(uuid, text, int), public.erase_limits(uuid), public.erase_mails(uuid), public.erase_person(uuid),
  public.waiting_erasures(), public.export_rows(uuid, text, text, int), public.export_audit(uuid, text, int)
  to service_role;

reset role;

-- The audit log's seals
--
-- Each hour that holds entries gets one seal, once it has been over for ten minutes:
--   seal(n) = fold over the hour's entries in the order (at, id) of  h -> SHA-256(h, line feed, the entry's line),
--             beginning with SHA-256(seal(n-1) or nothing, line feed, n, space, the hour)
-- in hex, of UTF-8. An entry's line is the JSON array [id, at, actor, actor_kind, action, subject, detail as text,
-- request_id] as PostgreSQL writes it. infra/supabase/audit.py computes the same without asking the database to.

create table public.audit_seals (
  number bigint primary key check (number > 0),
  hour timestamptz not null unique check (hour = date_trunc('hour', hour, 'UTC')),
  entries int not null check (entries > 0),
  previous text check (previous ~ '^[0-9a-f]{64}$'),
  seal text not null check (seal ~ '^[0-9a-f]{64}$'),
  sealed_at timestamptz not null default clock_timestamp(),
  check ((number = 1) = (previous is null))
);
comment on table public.audit_seals is
  'A SHA-256 hash chain over the hours of the audit log, append only: who changes an entry breaks every later seal.';

alter table public.audit_seals enable row level security;
alter table public.audit_seals force row level security;
create policy app_read on public.audit_seals for select to app_owner using (true);
create policy app_append on public.audit_seals for insert to app_owner with check (true);
grant select, insert on public.audit_seals to app_owner;
-- The command that verifies the chain reads both as the administrator, whom row level security binds as well.
create policy administration on public.audit_log for select to postgres using (true);
create policy administration on public.audit_seals for select to postgres using (true);
create trigger append_only before update or delete on public.audit_seals
  for each row execute function private.refuse_change();
create trigger append_only_whole before truncate on public.audit_seals
  for each statement execute function private.refuse_change();

set local role app_owner;

create function private.audit_hour_lock(p_hour timestamptz) returns bigint language sql stable set search_path = '' as $$
  select hashtextextended('audit hour ' || private.stamp(p_hour), 0)
$$;

-- Writers of an hour hold its lock together; the sealer takes it alone, so it waits for whoever has not committed yet,
-- and nobody writes after it. The hour that runs has another lock, so sealing holds nobody up.
create function private.refuse_sealed() returns trigger language plpgsql set search_path = '' as $$
declare
  v_hour timestamptz := date_trunc('hour', new.at, 'UTC');
begin
  perform pg_advisory_xact_lock_shared(private.audit_hour_lock(v_hour));
  if exists (select from public.audit_seals where hour >= v_hour) then
    raise exception 'this hour of the audit log is sealed' using errcode = 'insufficient_privilege';
  end if;
  return new;
end $$;

create function private.audit_line(p_entry public.audit_log) returns text language sql stable set search_path = '' as $$
  select jsonb_build_array(p_entry.id, private.stamp(p_entry.at), p_entry.actor, p_entry.actor_kind, p_entry.action,
    p_entry.subject, p_entry.detail::text, p_entry.request_id)::text
$$;

create function private.seal_hour(p_hour timestamptz, p_last public.audit_seals) returns public.audit_seals
language plpgsql set search_path = '' as $$
declare
  v_seal public.audit_seals;
  v_entry public.audit_log;
  v_hash text;
  v_entries int := 0;
begin
  -- The empty hours before it as well: an entry that somebody is still writing there would come to lie before this seal.
  -- No transaction is open for a day.
  perform pg_advisory_xact_lock(private.audit_hour_lock(hour)) from generate_series(
    greatest(p_last.hour + interval '1 hour', p_hour - interval '1 day'), p_hour, interval '1 hour') hour;
  if exists (select from public.audit_log where at >= p_last.hour + interval '1 hour' and at < p_hour) then
    return null;
  end if;
  v_hash := encode(sha256(convert_to(coalesce(p_last.seal, '') || E'\n' || coalesce(p_last.number, 0) + 1 || ' '
    || private.stamp(p_hour), 'UTF8')), 'hex');
  for v_entry in
    select * from public.audit_log where at >= p_hour and at < p_hour + interval '1 hour' order by at, id
  loop
    v_hash := encode(sha256(convert_to(v_hash || E'\n' || private.audit_line(v_entry), 'UTF8')), 'hex');
    v_entries := v_entries + 1;
  end loop;
  insert into public.audit_seals (number, hour, entries, previous, seal)
    values (coalesce(p_last.number, 0) + 1, p_hour, v_entries, p_last.seal, v_hash) returning * into v_seal;
  return v_seal;
end $$;

-- Seals at most p_limit hours, the oldest first. Where a writer of an hour is still at work after ten minutes, that hour
-- and those after it wait for the next time.
create function public.seal_audit(p_limit int) returns jsonb
language plpgsql security definer set search_path = '' set lock_timeout = '2s' as $$
declare
  v_last public.audit_seals;
  v_seal public.audit_seals;
  v_first timestamptz;
  v_sealed int := 0;
begin
  perform pg_advisory_xact_lock(hashtextextended('audit seals', 0));
  select * into v_last from public.audit_seals order by number desc limit 1;
  while v_sealed < p_limit loop
    select date_trunc('hour', min(at), 'UTC') into v_first from public.audit_log
      where v_last.hour is null or at >= v_last.hour + interval '1 hour';
    exit when v_first is null or v_first + interval '1 hour 10 minutes' > clock_timestamp();
    begin
      v_seal := private.seal_hour(v_first, v_last);
    exception when lock_not_available then
      exit;
    end;
    if v_seal.number is not null then
      v_last := v_seal;
      v_sealed := v_sealed + 1;
    end if;
  end loop;
  return jsonb_build_object('sealed', v_sealed, 'number', v_last.number, 'hour', private.stamp(v_last.hour),
    'seal', v_last.seal);
end $$;
grant execute on function public.seal_audit(int) to service_role;

reset role;
create trigger open_hour before insert on public.audit_log for each row execute function private.refuse_sealed();
revoke create on schema public, private from app_owner;
notify pgrst, 'reload schema';
