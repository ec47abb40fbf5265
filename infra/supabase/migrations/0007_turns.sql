-- A turn: opened, interrupted, closed or lost.
-- Locks are taken in one order everywhere: the session, its turn, the turn's idempotency key.

grant create on schema public, private to app_owner;
set local role app_owner;

-- How much of p_text was heard when playback stopped p_played_ms into piece p_played_seq. p_pieces is
-- [{seq, start_ms, end_ms, chars_start, chars_end}], characters counted from 0, the end not included. Inside the piece
-- time and characters are taken as proportional, and a word that was cut is given up; scripts that put no spaces between
-- words are cut where the sound stopped. No pieces at all (null) means that nothing was spoken: the text was read, and
-- stays.
create function private.heard_text(p_text text, p_pieces jsonb, p_played_seq int, p_played_ms int) returns text
language plpgsql immutable set search_path = '' as $$
declare
  v_heard int;
  v_piece jsonb;
  v_long numeric;
  v_text text;
  v_rest text;
  v_unspaced constant text := '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]';
begin
  if p_pieces is null or jsonb_typeof(p_pieces) <> 'array' then
    return p_text;
  end if;
  select coalesce(max((value ->> 'chars_end')::int), 0) into v_heard from jsonb_array_elements(p_pieces)
    where (value ->> 'seq')::int < p_played_seq;
  select value into v_piece from jsonb_array_elements(p_pieces) where (value ->> 'seq')::int = p_played_seq limit 1;
  if v_piece is not null then
    v_long := (v_piece ->> 'end_ms')::numeric - (v_piece ->> 'start_ms')::numeric;
    v_heard := greatest(v_heard, (v_piece ->> 'chars_start')::int + floor(
      ((v_piece ->> 'chars_end')::int - (v_piece ->> 'chars_start')::int)
      * least(1, greatest(0, p_played_ms) / case when v_long > 0 then v_long else 1 end))::int);
  end if;
  v_text := substr(p_text, 1, v_heard);
  v_rest := substr(p_text, v_heard + 1, 2);
  if ((v_text ~ '\w[''’-]?$' and v_rest ~ '^[''’-]?\w') or (v_text ~ '\d[.,:]?$' and v_rest ~ '^[.,:]?\d'))
    and right(v_text, 1) !~ v_unspaced and left(v_rest, 1) !~ v_unspaced then
    v_text := regexp_replace(v_text, '\S+$', '');
  end if;
  return rtrim(v_text, E' \t\n\r');
end $$;

-- Close a running turn whose lease ran out; its key answers with this failure from now on. False: there was none.
create function private.lose_turn(p_turn_id uuid) returns boolean language plpgsql set search_path = '' as $$
declare
  v_problem constant jsonb := jsonb_build_object(
    'type', 'urn:oprina:problem:turn_lost', 'title', 'Conflict', 'status', 409, 'code', 'turn_lost', 'instance', null,
    'detail', 'The turn was lost before its answer was complete. Ask again.', 'request_id', null, 'retryable', false,
    'turn_id', p_turn_id);
begin
  update public.turns
    set status = 'failed', code = 'turn_lost', problem = v_problem, capability_hash = null,
      completed_at = clock_timestamp()
    where id = p_turn_id and status = 'running' and lease_until <= clock_timestamp();
  if not found then
    return false;
  end if;
  update public.idempotency_keys set state = 'done', status = 409, body = v_problem
    where turn_id = p_turn_id and state = 'running';
  return true;
end $$;

create function private.turn_context(p_session public.sessions, p_turn public.turns, p_history int) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'turn_id', p_turn.id, 'ordinal', p_turn.ordinal,
    'history', coalesce((
      select jsonb_agg(jsonb_build_object('role', said.role, 'text', said.text) order by said.position) from (
        select m.role, m.text, m.position from public.messages m
          where m.session_id = p_session.id and m.text <> '' order by m.position desc limit greatest(0, p_history)
      ) said), '[]'),
    'person', (
      select jsonb_build_object('preferred_name', u.preferred_name, 'full_name', u.full_name,
          'timezone', coalesce(u.timezone, 'UTC'),
          'language', coalesce(u.language, 'en'), 'ai_preferences', u.ai_preferences)
        from public.users u where u.id = p_turn.user_id),
    'session', jsonb_build_object('id', p_session.id, 'title', p_session.title, 'title_source', p_session.title_source))
$$;

create function public.open_turn(
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

create function private.store_message(p_turn public.turns, p_role text, p_kind text, p_message jsonb) returns int
language plpgsql set search_path = '' as $$
begin
  if p_message is null or jsonb_typeof(p_message) <> 'object' then
    return 0;
  end if;
  insert into public.messages (id, session_id, user_id, turn_id, role, kind, text, state, position, voice)
    values ((p_message ->> 'id')::uuid, p_turn.session_id, p_turn.user_id, p_turn.id, p_role, p_kind,
      p_message ->> 'text', coalesce(p_message ->> 'state', 'complete'), 2 * p_turn.ordinal - case p_role when 'user' then 1 else 0 end,
      nullif(p_message -> 'voice', 'null'));
  return 1;
end $$;

-- What an interruption makes of an outcome: the reply ends where the listening did.
create function private.interrupt_outcome(p_outcome jsonb, p_played_seq int, p_played_ms int) returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  v_heard text := private.heard_text(
    p_outcome -> 'assistant_message' ->> 'text', p_outcome -> 'speech' -> 'pieces', p_played_seq, p_played_ms);
  v_outcome jsonb := p_outcome;
begin
  if jsonb_typeof(p_outcome -> 'assistant_message') = 'object' then
    v_outcome := jsonb_set(v_outcome, '{assistant_message}',
      (p_outcome -> 'assistant_message') || jsonb_build_object('text', v_heard, 'state', 'interrupted'));
  end if;
  if jsonb_typeof(p_outcome -> 'result') = 'object' then
    v_outcome := jsonb_set(v_outcome, '{result}',
      (p_outcome -> 'result') || jsonb_build_object('reply', v_heard, 'interrupted', true));
  end if;
  return v_outcome;
end $$;

-- Everything a turn leaves behind: messages, ledger, title, the key's answer.
create function private.store_outcome(p_turn public.turns, p_outcome jsonb, p_hash text, p_route text) returns void
language plpgsql set search_path = '' as $$
declare
  v_completed boolean := p_outcome ->> 'status' = 'completed';
  v_result jsonb := nullif(p_outcome -> 'result', 'null');
  v_problem jsonb := nullif(p_outcome -> 'problem', 'null');
  v_title text := p_outcome ->> 'title';
  v_messages int;
begin
  update public.turns set
      status = p_outcome ->> 'status', code = p_outcome ->> 'code', problem = v_problem, result = v_result,
      speech = nullif(p_outcome -> 'speech', 'null'), usage = p_outcome -> 'usage',
      cost_micros = (p_outcome ->> 'cost_micros')::bigint, timings_ms = p_outcome -> 'timings_ms',
      outcome_hash = p_hash, capability_hash = null, completed_at = clock_timestamp()
    where id = p_turn.id;
  v_messages := private.store_message(
      p_turn, 'user', coalesce(p_outcome -> 'user_message' ->> 'kind', p_turn.kind), p_outcome -> 'user_message')
    + private.store_message(p_turn, 'assistant', p_turn.kind, p_outcome -> 'assistant_message');
  perform private.book(p_outcome -> 'usage', p_turn.id, p_route);
  update public.sessions set
      message_count = message_count + v_messages, turn_count = turn_count + v_completed::int,
      title = case when title_source = 'default' and v_title <> '' then v_title else title end,
      title_source = case when title_source = 'default' and v_title <> '' then 'turn' else title_source end,
      last_activity_at = clock_timestamp(), updated_at = clock_timestamp()
    where id = p_turn.session_id;
  update public.idempotency_keys set state = 'done', status = (p_outcome ->> 'http_status')::int,
      body = case when v_completed then v_result else v_problem end,
      fingerprint = coalesce(p_outcome ->> 'fingerprint', fingerprint)
    where turn_id = p_turn.id and state = 'running';
end $$;

-- The turn was lost, or its session is gone, before it could be closed. What it used was used all the same.
create function private.close_lost(p_turn_id uuid, p_outcome jsonb, p_route text) returns jsonb
language plpgsql set search_path = '' as $$
begin
  perform private.book(p_outcome -> 'usage', p_turn_id, p_route);
  update public.turns set usage = p_outcome -> 'usage', cost_micros = (p_outcome ->> 'cost_micros')::bigint
    where id = p_turn_id and user_id = private.person_id() and code = 'turn_lost' and usage is null;
  return private.refused('PT409', 'turn_lost', '{}', 'The turn was lost before its answer was complete. Ask again.');
end $$;

-- Closing again with the same outcome gives the same answer, so that a lost answer can be asked for again.
create function public.close_turn(p_entry jsonb, p_turn_id uuid, p_outcome jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_hash text := encode(sha256(convert_to(p_outcome::text, 'UTF8')), 'hex');
  v_turn public.turns;
  v_outcome jsonb := p_outcome;
begin
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

create function private.own_turn(p_session_id uuid, p_turn_id uuid) returns public.turns
language plpgsql set search_path = '' as $$
declare
  v_turn public.turns;
begin
  select * into v_turn from public.turns
    where id = p_turn_id and session_id = p_session_id and user_id = private.person_id() for update;
  if v_turn.id is null then
    perform private.refuse(404, 'not_found', 'There is no such turn.');
  end if;
  return v_turn;
end $$;

create function public.get_turn(p_entry jsonb, p_session_id uuid, p_turn_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_turn public.turns;
  v_extra text;
  v_detail text;
begin
  v_turn := private.own_turn(p_session_id, p_turn_id);
  return private.answer(p_entry, v_entry, jsonb_build_object(
    'id', v_turn.id, 'session_id', v_turn.session_id, 'ordinal', v_turn.ordinal, 'kind', v_turn.kind,
    'status', v_turn.status, 'code', v_turn.code, 'problem', v_turn.problem, 'interrupted', v_turn.interrupted,
    'result', v_turn.result, 'timings_ms', coalesce(v_turn.timings_ms, '{}'), 'usage', coalesce(v_turn.usage, '[]'),
    'cost_micros', v_turn.cost_micros,
    'created_at', private.stamp(v_turn.created_at), 'completed_at', private.stamp(v_turn.completed_at)));
exception when sqlstate 'PT404' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- The first interruption counts; later ones change nothing. The answer of the turn's key stays what it was.
create function public.interrupt_turn(
  p_entry jsonb, p_session_id uuid, p_turn_id uuid, p_played_seq int, p_played_ms int
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_turn public.turns;
  v_reply text;
  v_extra text;
  v_detail text;
begin
  v_entry := private.admit(p_entry, v_entry);
  if private.is_replay(v_entry) then
    return private.answer(p_entry, v_entry, null);
  end if;
  v_turn := private.own_turn(p_session_id, p_turn_id);
  if v_turn.status = 'failed' then
    perform private.refuse(409, 'turn_failed', 'This turn has failed; there is nothing to interrupt.');
  end if;
  if v_turn.status = 'completed' and not v_turn.interrupted then
    update public.messages
      set text = private.heard_text(text, v_turn.speech -> 'pieces', p_played_seq, p_played_ms), state = 'interrupted'
      where turn_id = p_turn_id and role = 'assistant' returning text into v_reply;
  end if;
  update public.turns set interrupted = true, played_seq = p_played_seq, played_ms = p_played_ms,
      result = result || jsonb_build_object('interrupted', true, 'reply', coalesce(v_reply, result ->> 'reply'))
    where id = p_turn_id and not interrupted;
  if v_turn.status = 'completed' then
    select text into v_reply from public.messages where turn_id = p_turn_id and role = 'assistant';
  end if;
  return private.answer(p_entry, v_entry,
    jsonb_build_object('status', v_turn.status, 'interrupted', true, 'reply', v_reply), 200);
exception when sqlstate 'PT404' or sqlstate 'PT409' or sqlstate 'PT422' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

create function public.reap_turns(p_limit int) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_turn_id uuid;
  v_closed int := 0;
begin
  for v_turn_id in
    select id from public.turns where status = 'running' and lease_until <= now()
      order by lease_until limit p_limit for update skip locked
  loop
    v_closed := v_closed + private.lose_turn(v_turn_id)::int;
  end loop;
  return jsonb_build_object('closed', v_closed);
end $$;

grant execute on function
  public.open_turn(jsonb, uuid, uuid, text, text, int, int), public.close_turn(jsonb, uuid, jsonb),
  public.get_turn(jsonb, uuid, uuid), public.interrupt_turn(jsonb, uuid, uuid, int, int)
  to authenticated;
grant execute on function public.reap_turns(int) to service_role;

reset role;
revoke create on schema public, private from app_owner;
notify pgrst, 'reload schema';
