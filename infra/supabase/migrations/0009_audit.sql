-- The audit log: who did what to whom, append only, without a name in it.
--
-- People stand in it as SHA-256 of a random key and their id. The key is a row of its own that goes with the person, and
-- from then on nobody can tell whose the entries are.

create table private.audit_keys (
  user_id uuid primary key references public.users on delete cascade,
  key bytea not null check (length(key) = 32)
);
comment on table private.audit_keys is 'What makes a person recognisable in the audit log. Dies with the person.';

create table public.audit_log (
  id uuid primary key,
  at timestamptz not null default clock_timestamp(),
  actor text check (actor ~ '^[0-9a-f]{64}$'),
  actor_kind text not null check (actor_kind in ('person', 'administrator', 'system', 'nobody')),
  action text not null check (action ~ '^[a-z_]+\.[a-z_]+$'),
  subject text check (subject ~ '^[0-9a-f]{64}$'),
  detail jsonb not null default '{}' check (jsonb_typeof(detail) = 'object'),
  request_id text
);
create index audit_log_at on public.audit_log (at, id);
create index audit_log_subject on public.audit_log (subject, at desc) where subject is not null;
comment on table public.audit_log is
  'What was done, append only. actor and subject are keyed hashes; detail holds words and numbers, never personal data.';

alter table private.audit_keys enable row level security;
alter table private.audit_keys force row level security;
alter table public.audit_log enable row level security;
alter table public.audit_log force row level security;
create policy app on private.audit_keys for all to app_owner using (true) with check (true);
create policy app_read on public.audit_log for select to app_owner using (true);
create policy app_append on public.audit_log for insert to app_owner with check (true);
grant select, insert on private.audit_keys to app_owner;
grant select, insert on public.audit_log to app_owner;

-- Grants keep the functions from it; this keeps everybody from it, the owner of the table included.
create function private.refuse_change() returns trigger language plpgsql set search_path = '' as $$
begin
  raise exception 'the audit log is append only' using errcode = 'insufficient_privilege';
end $$;
create trigger append_only before update or delete on public.audit_log
  for each row execute function private.refuse_change();
create trigger append_only_whole before truncate on public.audit_log
  for each statement execute function private.refuse_change();

grant create on schema public, private to app_owner;
set local role app_owner;

-- Two random UUIDs make a key of 244 random bits; hashing them gives it its length.
create function private.audit_name(p_user_id uuid) returns text
language plpgsql set search_path = '' as $$
declare
  v_key bytea;
begin
  if p_user_id is null then
    return null;
  end if;
  insert into private.audit_keys (user_id, key)
    values (p_user_id, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))
    on conflict (user_id) do nothing;
  select key into v_key from private.audit_keys where user_id = p_user_id;
  return encode(sha256(v_key || uuid_send(p_user_id)), 'hex');
end $$;
comment on function private.audit_name(uuid) is 'How a person is written in the audit log; null for nobody.';

-- An entry in the caller's transaction. Without an actor it is the person of the request; the server key acting for
-- nobody in particular is the system.
create function private.audit(
  p_action text, p_subject uuid default null, p_detail jsonb default '{}', p_actor uuid default null
) returns void language plpgsql set search_path = '' as $$
declare
  v_actor uuid := coalesce(p_actor, private.person_id());
  v_headers jsonb := coalesce(nullif(current_setting('request.headers', true), ''), '{}');
begin
  insert into public.audit_log (id, actor, actor_kind, action, subject, detail, request_id)
    values (gen_random_uuid(), private.audit_name(v_actor),
      case
        when v_actor is null then 'system'
        when (select is_admin from public.users where id = v_actor) and v_actor is distinct from p_subject
          then 'administrator'
        else 'person'
      end,
      p_action, private.audit_name(coalesce(p_subject, v_actor)), coalesce(p_detail, '{}'),
      left(v_headers ->> 'x-request-id', 128));
end $$;
comment on function private.audit(text, uuid, jsonb, uuid) is
  'Write `room.what_happened` into the audit log. The subject is the actor unless another is given.';

-- Administrators exist for people who are not: a function of theirs says so right after it entered.
create function private.require_administrator(p_state jsonb) returns void
language plpgsql set search_path = '' as $$
begin
  if not coalesce((p_state ->> 'admin')::boolean, false) then
    perform private.refuse(403, 'administrators_only', 'Only an administrator may do this.');
  end if;
end $$;
comment on function private.require_administrator(jsonb) is 'Refuses (403) whoever private.enter found to be no administrator.';

reset role;
revoke create on schema public, private from app_owner;
