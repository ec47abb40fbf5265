-- Conversations, their messages and turns.

create table public.sessions (
  id uuid primary key,
  user_id uuid not null references public.users on delete cascade,
  title text not null check (length(title) between 1 and 500),
  title_source text not null default 'default' check (title_source in ('default', 'turn', 'person')),
  status text not null default 'active' check (status in ('active', 'ended')),
  message_count int not null default 0,
  turn_count int not null default 0,
  last_ordinal int not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  last_activity_at timestamptz not null default now(),
  ended_at timestamptz
);
create index sessions_activity on public.sessions (user_id, last_activity_at desc, id desc);
comment on table public.sessions is
  'Conversations. turn_count counts completed turns; last_ordinal numbers every turn that was opened.';

create table public.turns (
  id uuid primary key,
  session_id uuid not null references public.sessions on delete cascade,
  user_id uuid not null references public.users on delete cascade,
  ordinal int not null,
  kind text not null check (kind in ('voice', 'text')),
  status text not null default 'running' check (status in ('running', 'completed', 'failed')),
  code text,
  problem jsonb,
  lease_until timestamptz not null,
  capability_hash text unique,
  interrupted boolean not null default false,
  played_seq int,
  played_ms int,
  speech jsonb,
  result jsonb,
  outcome_hash text,
  usage jsonb,
  cost_micros bigint,
  timings_ms jsonb,
  created_at timestamptz not null default now(),
  completed_at timestamptz,
  unique (session_id, ordinal),
  check (status = 'running' or capability_hash is null)
);
create unique index turns_running on public.turns (session_id) where status = 'running';
create index turns_lease on public.turns (lease_until) where status = 'running';
create index turns_user on public.turns (user_id, created_at desc);
comment on table public.turns is
  'A question and its answer. One runs in a session at a time; one whose lease ran out is closed as failed, turn_lost.';

create table public.messages (
  id uuid primary key,
  session_id uuid not null references public.sessions on delete cascade,
  user_id uuid not null references public.users on delete cascade,
  turn_id uuid references public.turns on delete cascade,
  role text not null check (role in ('user', 'assistant')),
  kind text not null check (kind in ('voice', 'text')),
  text text not null,
  state text not null default 'complete' check (state in ('complete', 'interrupted', 'incomplete')),
  position int not null check (position > 0),
  voice jsonb,
  created_at timestamptz not null default now(),
  unique (session_id, position)
);
create index messages_turn on public.messages (turn_id);
create index messages_user on public.messages (user_id);
comment on table public.messages is
  'What was said. Turn n holds positions 2n-1 (the person) and 2n (the assistant), so order never depends on clocks.';

alter table public.sessions enable row level security;
alter table public.sessions force row level security;
alter table public.turns enable row level security;
alter table public.turns force row level security;
alter table public.messages enable row level security;
alter table public.messages force row level security;
create policy app on public.sessions for all to app_owner
  using (user_id = (select private.person_id()) or (select private.is_server()))
  with check (user_id = (select private.person_id()) or (select private.is_server()));
create policy app on public.turns for all to app_owner
  using (user_id = (select private.person_id()) or (select private.is_server()))
  with check (user_id = (select private.person_id()) or (select private.is_server()));
create policy app on public.messages for all to app_owner
  using (user_id = (select private.person_id()) or (select private.is_server()))
  with check (user_id = (select private.person_id()) or (select private.is_server()));
grant select, insert, update, delete on public.sessions to app_owner;
grant select, insert, update on public.turns, public.messages to app_owner;

create policy own on public.sessions for select to authenticated using (user_id = (select auth.uid()));
create policy own on public.turns for select to authenticated using (user_id = (select auth.uid()));
create policy own on public.messages for select to authenticated using (user_id = (select auth.uid()));
grant select (
  id, user_id, title, title_source, status, message_count, turn_count, created_at, updated_at, last_activity_at, ended_at
) on public.sessions to authenticated;
grant select (
  id, session_id, user_id, ordinal, kind, status, code, problem, interrupted, result, usage, cost_micros, timings_ms,
  created_at, completed_at
) on public.turns to authenticated;
grant select (id, session_id, user_id, turn_id, role, kind, text, state, position, voice, created_at)
  on public.messages to authenticated;

grant create on schema public, private to app_owner;
set local role app_owner;

create function private.session_json(p_session public.sessions) returns jsonb language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'id', p_session.id, 'title', p_session.title, 'title_source', p_session.title_source, 'status', p_session.status,
    'message_count', p_session.message_count, 'turn_count', p_session.turn_count,
    'created_at', private.stamp(p_session.created_at), 'updated_at', private.stamp(p_session.updated_at),
    'last_activity_at', private.stamp(p_session.last_activity_at), 'ended_at', private.stamp(p_session.ended_at))
$$;

create function private.message_json(p_message public.messages) returns jsonb language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'id', p_message.id, 'session_id', p_message.session_id, 'turn_id', p_message.turn_id, 'role', p_message.role,
    'kind', p_message.kind, 'text', p_message.text, 'state', p_message.state, 'position', p_message.position,
    'voice', p_message.voice, 'created_at', private.stamp(p_message.created_at))
$$;

-- The person's session, locked when it is to be changed; another person's is as unknown as one that never was.
create function private.own_session(p_session_id uuid, p_lock boolean default false) returns public.sessions
language plpgsql set search_path = '' as $$
declare
  v_session public.sessions;
begin
  if p_lock then
    select * into v_session from public.sessions where id = p_session_id and user_id = private.person_id() for update;
  else
    select * into v_session from public.sessions where id = p_session_id and user_id = private.person_id();
  end if;
  if v_session.id is null then
    perform private.refuse(404, 'not_found', 'There is no such session.');
  end if;
  return v_session;
end $$;

create function private.like_pattern(p_query text) returns text language sql immutable set search_path = '' as $$
  select '%' || replace(replace(replace(p_query, '\', '\\'), '%', '\%'), '_', '\_') || '%'
$$;

create function private.page_size(p_limit int) returns int language sql immutable set search_path = '' as $$
  select greatest(1, least(100, coalesce(p_limit, 20)))
$$;

create function public.create_session(p_entry jsonb, p_id uuid, p_title text default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_extra text;
  v_detail text;
begin
  v_entry := private.admit(p_entry, v_entry);
  if private.is_replay(v_entry) then
    return private.answer(p_entry, v_entry, null);
  end if;
  insert into public.sessions (id, user_id, title, title_source)
    values (p_id, private.person_id(), coalesce(p_title, 'New conversation'),
      case when p_title is null then 'default' else 'person' end)
    on conflict (id) do nothing;
  return private.answer(p_entry, v_entry, private.session_json(private.own_session(p_id)), 201);
exception when sqlstate 'PT404' or sqlstate 'PT409' or sqlstate 'PT422' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- Newest activity first. The cursor is the last item's {"at", "id"}; p_query looks in titles and in what was said.
create function public.list_sessions(
  p_entry jsonb, p_limit int default 20, p_cursor jsonb default null, p_query text default null, p_status text default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_limit int := private.page_size(p_limit);
  v_pattern text := private.like_pattern(p_query);
  v_at timestamptz := (p_cursor ->> 'at')::timestamptz;
  v_id uuid := (p_cursor ->> 'id')::uuid;
  v_items jsonb;
  v_last jsonb;
begin
  select coalesce(jsonb_agg(private.session_json(page) order by page.last_activity_at desc, page.id desc), '[]')
    into v_items from (
      select s.* from public.sessions s
        where s.user_id = private.person_id()
          and (v_at is null or (s.last_activity_at, s.id) < (v_at, v_id))
          and (p_status is null or s.status = p_status)
          and (p_query is null or s.title ilike v_pattern or exists (
            select from public.messages m where m.session_id = s.id and m.text ilike v_pattern))
        order by s.last_activity_at desc, s.id desc limit v_limit + 1
    ) page;
  v_last := v_items -> (v_limit - 1);
  return private.answer(p_entry, v_entry, case when jsonb_array_length(v_items) > v_limit
    then jsonb_build_object('items', v_items - v_limit,
      'next', jsonb_build_object('at', v_last -> 'last_activity_at', 'id', v_last -> 'id'))
    else jsonb_build_object('items', v_items, 'next', null) end);
end $$;

create function public.get_session(p_entry jsonb, p_session_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_extra text;
  v_detail text;
begin
  return private.answer(p_entry, v_entry, private.session_json(private.own_session(p_session_id)));
exception when sqlstate 'PT404' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- p_changes is {"title": text | null}; null gives the title back to the next turn.
create function public.update_session(p_entry jsonb, p_session_id uuid, p_changes jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_session public.sessions;
  v_extra text;
  v_detail text;
begin
  v_session := private.own_session(p_session_id, true);
  if p_changes ? 'title' then
    update public.sessions
      set title = coalesce(p_changes ->> 'title', 'New conversation'), updated_at = now(),
        title_source = case when p_changes ->> 'title' is null then 'default' else 'person' end
      where id = p_session_id returning * into v_session;
  end if;
  return private.answer(p_entry, v_entry, private.session_json(v_session));
exception when sqlstate 'PT404' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

create function public.delete_session(p_entry jsonb, p_session_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_extra text;
  v_detail text;
begin
  perform private.own_session(p_session_id, true);
  delete from public.sessions where id = p_session_id;
  return private.answer(p_entry, v_entry, '{}');
exception when sqlstate 'PT404' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

create function public.end_session(p_entry jsonb, p_session_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_session public.sessions;
  v_extra text;
  v_detail text;
begin
  v_entry := private.admit(p_entry, v_entry);
  if private.is_replay(v_entry) then
    return private.answer(p_entry, v_entry, null);
  end if;
  v_session := private.own_session(p_session_id, true);
  if v_session.status = 'active' then
    update public.sessions set status = 'ended', ended_at = now(), updated_at = now()
      where id = p_session_id returning * into v_session;
  end if;
  return private.answer(p_entry, v_entry, private.session_json(v_session), 200);
exception when sqlstate 'PT404' or sqlstate 'PT409' or sqlstate 'PT422' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- What a title is made from.
create function public.session_opening(p_entry jsonb, p_session_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_text text;
  v_extra text;
  v_detail text;
begin
  perform private.own_session(p_session_id);
  select text into v_text from public.messages
    where session_id = p_session_id and role = 'user' order by position limit 1;
  return private.answer(p_entry, v_entry, jsonb_build_object('text', v_text));
exception when sqlstate 'PT404' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

create function public.retitle_session(p_entry jsonb, p_session_id uuid, p_title text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_session public.sessions;
  v_extra text;
  v_detail text;
begin
  v_entry := private.admit(p_entry, v_entry);
  if private.is_replay(v_entry) then
    return private.answer(p_entry, v_entry, null);
  end if;
  perform private.own_session(p_session_id, true);
  update public.sessions set title = p_title, title_source = 'turn', updated_at = now()
    where id = p_session_id returning * into v_session;
  return private.answer(p_entry, v_entry, private.session_json(v_session), 200);
exception when sqlstate 'PT404' or sqlstate 'PT409' or sqlstate 'PT422' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- Newest first. The cursor is the last item's {"position"}.
create function public.list_messages(
  p_entry jsonb, p_session_id uuid, p_limit int default 20, p_cursor jsonb default null, p_role text default null,
  p_kind text default null
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_limit int := private.page_size(p_limit);
  v_before int := (p_cursor ->> 'position')::int;
  v_items jsonb;
  v_extra text;
  v_detail text;
begin
  perform private.own_session(p_session_id);
  select coalesce(jsonb_agg(private.message_json(page) order by page.position desc), '[]') into v_items from (
    select m.* from public.messages m
      where m.session_id = p_session_id and (v_before is null or m.position < v_before)
        and (p_role is null or m.role = p_role) and (p_kind is null or m.kind = p_kind)
      order by m.position desc limit v_limit + 1
  ) page;
  return private.answer(p_entry, v_entry, case when jsonb_array_length(v_items) > v_limit
    then jsonb_build_object('items', v_items - v_limit,
      'next', jsonb_build_object('position', v_items -> (v_limit - 1) -> 'position'))
    else jsonb_build_object('items', v_items, 'next', null) end);
exception when sqlstate 'PT404' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

grant execute on function
  public.create_session(jsonb, uuid, text), public.list_sessions(jsonb, int, jsonb, text, text),
  public.get_session(jsonb, uuid), public.update_session(jsonb, uuid, jsonb), public.delete_session(jsonb, uuid),
  public.end_session(jsonb, uuid), public.session_opening(jsonb, uuid), public.retitle_session(jsonb, uuid, text),
  public.list_messages(jsonb, uuid, int, jsonb, text, text)
  to authenticated;

reset role;
revoke create on schema public, private from app_owner;
