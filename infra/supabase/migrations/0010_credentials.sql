-- Credentials after registration: forgotten, reset and changed passwords, the list of devices, limits that a stranger
-- cannot use to lock somebody out, and what of all this stands in the audit log.

-- When the password was set by its person. A sign-in remembers which password it was checked against by this, and not by
-- the hash: the same password may be hashed again at a higher cost meanwhile.
alter table public.users add column password_set_at timestamptz;

-- What a limit by address counts (an IPv4 address, or a /64), and until when the newest refresh token is good.
alter table public.sign_ins add column network text;
alter table public.sign_ins add column expires_at timestamptz;
alter table public.sign_ins drop constraint sign_ins_end_reason_check;
alter table public.sign_ins add constraint sign_ins_end_reason_check check (end_reason in (
  'signed_out', 'refresh_token_reused', 'signed_out_everywhere', 'ended_by_person', 'password_changed', 'password_reset'));

alter table public.one_time_tokens drop constraint one_time_tokens_purpose_check;
alter table public.one_time_tokens add constraint one_time_tokens_purpose_check
  check (purpose in ('verify_email', 'reset_password'));

-- A person who changes their password voids their own links, and is told by mail.
create policy own_read on public.one_time_tokens for select to app_owner using (user_id = (select private.person_id()));
create policy own_void on public.one_time_tokens for delete to app_owner using (user_id = (select private.person_id()));
create policy own_news on public.outbox for insert to app_owner with check ((select private.person_id()) is not null);

grant create on schema public, private to app_owner;
set local role app_owner;

-- An entry about a person by somebody who has not shown who they are.
create function private.audit_stranger(p_action text, p_subject uuid, p_detail jsonb default '{}') returns void
language plpgsql set search_path = '' as $$
begin
  insert into public.audit_log (id, actor_kind, action, subject, detail, request_id)
    values (gen_random_uuid(), 'nobody', p_action, private.audit_name(p_subject), coalesce(p_detail, '{}'),
      left(coalesce(nullif(current_setting('request.headers', true), ''), '{}')::jsonb ->> 'x-request-id', 128));
end $$;
comment on function private.audit_stranger(text, uuid, jsonb) is 'Write into the audit log what nobody in particular did to a person.';

-- Limits of an account

-- A limiter's key for an address of a person, known or not: nothing in it tells which addresses there are.
create function private.account_key(p_what text, p_email text) returns text
language sql immutable set search_path = '' as $$
  select p_what || ' ' || encode(sha256(convert_to(lower(p_email), 'UTF8')), 'hex')
$$;

-- Which limiter an attempt to sign in takes from: one for each network from which this account was signed in during the
-- last 90 days, and one for the rest of the world. So a stranger's failures exhaust the rest of the world's only.
create function private.attempt_key(p_entry jsonb, p_email text, p_user_id uuid) returns text
language sql stable set search_path = '' as $$
  select private.account_key('attempts', p_email) || ' ' || case
    when exists (
      select from public.sign_ins
        where user_id = p_user_id and coalesce(network, device ->> 'address') = p_entry ->> 'address'
          and last_used_at > now() - interval '90 days')
      then encode(sha256(convert_to(p_entry ->> 'address', 'UTF8')), 'hex')
    else 'elsewhere'
  end
$$;

-- Twenty failures at once, then one every five minutes: 308 guesses in a first day, by however many machines.
create function private.attempt_limit() returns jsonb language sql immutable set search_path = '' as $$
  select '{"per_minute": 0.2, "burst": 20}'::jsonb
$$;

-- Mails that anybody can have sent to an address: five at once, then one every ten minutes.
create function private.mail_limit() returns jsonb language sql immutable set search_path = '' as $$
  select '{"per_minute": 0.1, "burst": 5}'::jsonb
$$;

-- An attempt is taken before the password is checked, so that parallel guesses cannot be more than there is; whoever
-- knew the password gets it back, so that only failures count.
create function private.give_back_attempt(p_key text) returns void language sql set search_path = '' as $$
  update public.rate_limits
    set full_at = full_at - make_interval(secs => 60.0 / (private.attempt_limit() ->> 'per_minute')::numeric)
    where key = p_key and p_key like 'attempts %'
$$;

-- Signing in

create or replace function public.find_credentials(p_entry jsonb, p_email text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
  v_user public.users;
  v_attempt text;
  v_taken jsonb;
  v_extra text;
  v_detail text;
begin
  select * into v_user from public.users where lower(email) = lower(p_email) and status <> 'deleted';
  v_attempt := private.attempt_key(p_entry, p_email, v_user.id);
  v_taken := private.take_or_pass(v_attempt, private.attempt_limit());
  if not (v_taken ->> 'allowed')::boolean then
    perform private.refuse(429, 'rate_limited',
      'Too many attempts to sign in with this address. Wait, or set a new password by mail, which works at once.',
      jsonb_build_object('retry_after_seconds', v_taken -> 'retry_after_seconds'));
  end if;
  return private.answer(p_entry, v_entry, case when v_user.id is not null then jsonb_build_object(
    'user_id', v_user.id, 'password_hash', v_user.password_hash, 'verified', v_user.email_verified_at is not null,
    'status', v_user.status, 'password_set_at', private.stamp(v_user.password_set_at), 'attempt', v_attempt) end);
exception when sqlstate 'PT429' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- Called for an unknown address too, so that a failure takes as many round trips there.
create function public.note_failed_sign_in(p_entry jsonb, p_user_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
begin
  if p_user_id is not null then
    perform private.audit_stranger('accounts.sign_in_failed', p_user_id);
  end if;
  return private.answer(p_entry, v_entry, '{}');
end $$;

create function private.begin_sign_in(
  p_entry jsonb, p_user public.users, p_sign_in_id uuid, p_refresh_id uuid, p_refresh_hash text,
  p_refresh_expires_at timestamptz, p_device jsonb, p_by text
) returns jsonb language plpgsql set search_path = '' as $$
begin
  insert into public.sign_ins (id, user_id, device, network, expires_at)
    values (p_sign_in_id, p_user.id, coalesce(p_device, '{}'), p_entry ->> 'address', p_refresh_expires_at)
    on conflict (id) do nothing;
  if found then
    perform private.audit('accounts.signed_in', p_user.id, jsonb_build_object('by', p_by), p_user.id);
  end if;
  insert into public.refresh_tokens (id, sign_in_id, user_id, token_hash, expires_at)
    values (p_refresh_id, p_sign_in_id, p_user.id, p_refresh_hash, p_refresh_expires_at) on conflict (id) do nothing;
  return jsonb_build_object('user', private.profile(p_user), 'sign_in_id', p_sign_in_id);
end $$;

-- p_how is {"by": how the person showed who they are, "password_set_at", "attempt"}; the last two, from find_credentials,
-- where it was by a password. One that was changed while it was being checked opens nothing any more.
drop function public.open_sign_in(jsonb, uuid, uuid, uuid, text, timestamptz, jsonb);
create function public.open_sign_in(
  p_entry jsonb, p_user_id uuid, p_sign_in_id uuid, p_refresh_id uuid, p_refresh_hash text,
  p_refresh_expires_at timestamptz, p_device jsonb, p_how jsonb default '{}'
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
  v_user public.users;
  v_extra text;
  v_detail text;
begin
  select * into v_user from public.users where id = p_user_id and status = 'active' for share;
  if v_user.id is null then
    perform private.refuse(401, 'person_inactive', 'This account is not active.');
  end if;
  if p_how ? 'password_set_at' and v_user.password_set_at is distinct from (p_how ->> 'password_set_at')::timestamptz then
    perform private.refuse(401, 'credentials_invalid', 'The e-mail address or the password is wrong.');
  end if;
  perform private.give_back_attempt(p_how ->> 'attempt');
  return private.answer(p_entry, v_entry, private.begin_sign_in(p_entry, v_user, p_sign_in_id, p_refresh_id,
    p_refresh_hash, p_refresh_expires_at, p_device, coalesce(p_how ->> 'by', 'password')));
exception when sqlstate 'PT401' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- The same password at another cost; nothing where it was changed meanwhile.
create function public.renew_password_hash(p_entry jsonb, p_user_id uuid, p_old_hash text, p_new_hash text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
begin
  update public.users set password_hash = p_new_hash where id = p_user_id and password_hash = p_old_hash;
  return private.answer(p_entry, v_entry, jsonb_build_object('renewed', found));
end $$;

create or replace function public.verify_email(p_entry jsonb, p_token_hash text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
  v_user_id uuid;
  v_extra text;
  v_detail text;
begin
  update public.one_time_tokens set used_at = now()
    where token_hash = p_token_hash and purpose = 'verify_email' and used_at is null and expires_at > now()
    returning user_id into v_user_id;
  if v_user_id is null then
    perform private.refuse(400, 'token_invalid', 'This link is no longer valid. Ask for a new one.');
  end if;
  update public.users set email_verified_at = coalesce(email_verified_at, now()), updated_at = now() where id = v_user_id;
  perform private.audit('accounts.address_verified', v_user_id, '{"by": "verification"}', v_user_id);
  return private.answer(p_entry, v_entry, jsonb_build_object('user_id', v_user_id));
exception when sqlstate 'PT400' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

create or replace function public.resend_verification(
  p_entry jsonb, p_email text, p_token_hash text, p_token_expires_at timestamptz, p_outbox_id uuid, p_mail jsonb
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
  v_taken jsonb := private.take_or_pass(private.account_key('verification', p_email), private.mail_limit());
  v_user_id uuid;
begin
  select id into v_user_id from public.users
    where lower(email) = lower(p_email) and status = 'active' and email_verified_at is null for no key update;
  if v_user_id is null or not coalesce((v_taken ->> 'allowed')::boolean, true) then
    return private.answer(p_entry, v_entry, '{"outbox_id": null}');
  end if;
  perform private.issue_link(v_user_id, 'verify_email', p_token_hash, p_token_expires_at);
  perform private.post(p_outbox_id, 'mail', p_mail);
  return private.answer(p_entry, v_entry, jsonb_build_object('outbox_id', p_outbox_id));
end $$;

-- Staying signed in

create or replace function private.refuse_refresh(p_token public.refresh_tokens, p_new_hash text) returns text
language plpgsql set search_path = '' as $$
declare
  v_successor public.refresh_tokens;
begin
  if p_token.id is null or not exists (select from public.sign_ins where id = p_token.sign_in_id and ended_at is null) then
    return 'refresh_token_invalid';
  end if;
  if p_token.superseded_at is not null then
    select * into v_successor from public.refresh_tokens where id = p_token.successor_id;
    if v_successor.token_hash is distinct from p_new_hash and (
      p_token.superseded_at < clock_timestamp() - interval '30 seconds'
      or v_successor.superseded_at is not null or v_successor.id is null
    ) then
      update public.sign_ins set ended_at = now(), end_reason = 'refresh_token_reused' where id = p_token.sign_in_id;
      perform private.audit_stranger('accounts.refresh_token_reused', p_token.user_id);
      return 'refresh_token_reused';
    end if;
  end if;
  if p_token.expires_at <= now() then
    return 'refresh_token_invalid';
  end if;
  if not exists (select from public.users where id = p_token.user_id and status = 'active') then
    return 'person_inactive';
  end if;
  return null;
end $$;

create or replace function public.rotate_refresh(
  p_entry jsonb, p_old_hash text, p_new_id uuid, p_new_hash text, p_expires_at timestamptz
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
  v_token public.refresh_tokens;
  v_refusal text;
  v_profile jsonb;
begin
  perform from public.sign_ins
    where id = (select sign_in_id from public.refresh_tokens where token_hash = p_old_hash) for update;
  select * into v_token from public.refresh_tokens where token_hash = p_old_hash;
  v_refusal := private.refuse_refresh(v_token, p_new_hash);
  if v_refusal is not null then
    return private.answer(p_entry, v_entry, jsonb_build_object('refused', v_refusal));
  end if;
  if not exists (select from public.refresh_tokens where token_hash = p_new_hash) then
    insert into public.refresh_tokens (id, sign_in_id, user_id, token_hash, expires_at)
      values (p_new_id, v_token.sign_in_id, v_token.user_id, p_new_hash, p_expires_at);
    update public.refresh_tokens set superseded_at = clock_timestamp(), successor_id = p_new_id
      where id = v_token.successor_id;
    update public.refresh_tokens set superseded_at = coalesce(superseded_at, clock_timestamp()), successor_id = p_new_id
      where id = v_token.id;
    update public.sign_ins set last_used_at = now(), expires_at = p_expires_at where id = v_token.sign_in_id;
  end if;
  select private.profile(u) into v_profile from public.users u where u.id = v_token.user_id;
  return private.answer(p_entry, v_entry, jsonb_build_object('user', v_profile, 'sign_in_id', v_token.sign_in_id));
end $$;

-- Ending sign-ins

-- In the order of their ids, so that two calls which end the same ones never wait for each other. Answers how many ended.
create function private.end_sign_ins(p_user_id uuid, p_reason text, p_except uuid default null) returns int
language plpgsql set search_path = '' as $$
declare
  v_ended int;
begin
  update public.sign_ins set ended_at = now(), end_reason = p_reason
    where ended_at is null and id in (
      select id from public.sign_ins
        where user_id = p_user_id and ended_at is null and id is distinct from p_except order by id for update);
  get diagnostics v_ended = row_count;
  return v_ended;
end $$;

create or replace function public.end_sign_in(p_entry jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
begin
  update public.sign_ins set ended_at = now(), end_reason = 'signed_out'
    where id = (private.claims() ->> 'sid')::uuid and user_id = private.person_id() and ended_at is null;
  if found then
    perform private.audit('accounts.signed_out');
  end if;
  return private.answer(p_entry, v_entry, '{}');
end $$;

create function public.end_all_sign_ins(p_entry jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
begin
  perform private.audit('accounts.all_signed_out', null, jsonb_build_object(
    'ended', private.end_sign_ins(private.person_id(), 'signed_out_everywhere')));
  return private.answer(p_entry, v_entry, '{}');
end $$;

-- Those that can still be used, newest first. p_cursor is {"at", "id"} of the last one of the page before.
create function public.list_sign_ins(p_entry jsonb, p_limit int default 20, p_cursor jsonb default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_limit int := private.page_size(p_limit);
  v_at timestamptz := (p_cursor ->> 'at')::timestamptz;
  v_id uuid := (p_cursor ->> 'id')::uuid;
  v_items jsonb;
  v_last jsonb;
begin
  select coalesce(jsonb_agg(jsonb_build_object(
      'id', page.id, 'device', page.device, 'current', page.id = (private.claims() ->> 'sid')::uuid,
      'created_at', private.stamp(page.created_at), 'last_used_at', private.stamp(page.last_used_at))
      order by page.created_at desc, page.id desc), '[]')
    into v_items from (
      select s.* from public.sign_ins s
        where s.user_id = private.person_id() and s.ended_at is null
          and coalesce(s.expires_at, s.last_used_at + interval '30 days') > now()
          and (v_at is null or (s.created_at, s.id) < (v_at, v_id))
        order by s.created_at desc, s.id desc limit v_limit + 1
    ) page;
  v_last := v_items -> (v_limit - 1);
  return private.answer(p_entry, v_entry, case when jsonb_array_length(v_items) > v_limit
    then jsonb_build_object('items', v_items - v_limit,
      'next', jsonb_build_object('at', v_last -> 'created_at', 'id', v_last -> 'id'))
    else jsonb_build_object('items', v_items, 'next', null) end);
end $$;

-- One of the person's own. Ending one that has ended changes nothing.
create function public.end_one_sign_in(p_entry jsonb, p_sign_in_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_sign_in public.sign_ins;
  v_extra text;
  v_detail text;
begin
  select * into v_sign_in from public.sign_ins where id = p_sign_in_id and user_id = private.person_id() for update;
  if v_sign_in.id is null then
    perform private.refuse(404, 'not_found', 'There is no such sign-in.');
  end if;
  if v_sign_in.ended_at is null then
    update public.sign_ins set ended_at = now(), end_reason = 'ended_by_person' where id = p_sign_in_id;
    perform private.audit('accounts.sign_in_ended');
  end if;
  return private.answer(p_entry, v_entry, '{}');
exception when sqlstate 'PT404' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- Forgotten, reset and changed passwords

-- Where the limit is used up, the link that was mailed before stays good: a stranger who asks again and again keeps its
-- owner from nothing.
create function public.ask_password_reset(
  p_entry jsonb, p_email text, p_token_hash text, p_token_expires_at timestamptz, p_outbox_id uuid, p_mail jsonb
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
  v_taken jsonb := private.take_or_pass(private.account_key('reset', p_email), private.mail_limit());
  v_user_id uuid;
begin
  select id into v_user_id from public.users
    where lower(email) = lower(p_email) and status = 'active' for no key update;
  if v_user_id is null or not coalesce((v_taken ->> 'allowed')::boolean, true) then
    return private.answer(p_entry, v_entry, '{"outbox_id": null}');
  end if;
  perform private.issue_link(v_user_id, 'reset_password', p_token_hash, p_token_expires_at);
  perform private.post(p_outbox_id, 'mail', p_mail);
  perform private.audit_stranger('accounts.reset_asked', v_user_id);
  return private.answer(p_entry, v_entry, jsonb_build_object('outbox_id', p_outbox_id));
end $$;

-- Whose link it is, without using it up. Unknown, used and expired are one answer.
create function public.find_password_reset(p_entry jsonb, p_token_hash text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
  v_email text;
  v_extra text;
  v_detail text;
begin
  select u.email into v_email from public.one_time_tokens t join public.users u on u.id = t.user_id
    where t.token_hash = p_token_hash and t.purpose = 'reset_password' and t.used_at is null and t.expires_at > now()
      and u.status <> 'deleted';
  if v_email is null then
    perform private.refuse(400, 'token_invalid', 'This link is no longer valid. Ask for a new one.');
  end if;
  return private.answer(p_entry, v_entry, jsonb_build_object('email', v_email));
exception when sqlstate 'PT400' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

create function private.set_password(p_user_id uuid, p_password_hash text) returns public.users
language plpgsql set search_path = '' as $$
declare
  v_user public.users;
begin
  update public.users set password_hash = p_password_hash, password_set_at = clock_timestamp(), updated_at = now()
    where id = p_user_id returning * into v_user;
  delete from public.one_time_tokens
    where user_id = p_user_id and used_at is null and purpose in ('verify_email', 'reset_password');
  return v_user;
end $$;
comment on function private.set_password(uuid, text) is 'A new password voids every link that was mailed before it.';

-- Whoever reads the mail owns the address: it is verified too, and they are signed in. All earlier sign-ins end.
create function public.reset_password(
  p_entry jsonb, p_token_hash text, p_password_hash text, p_sign_in_id uuid, p_refresh_id uuid, p_refresh_hash text,
  p_refresh_expires_at timestamptz, p_device jsonb, p_outbox_id uuid, p_mail jsonb
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
  v_user public.users;
  v_extra text;
  v_detail text;
begin
  update public.one_time_tokens set used_at = now()
    where token_hash = p_token_hash and purpose = 'reset_password' and used_at is null and expires_at > now()
    returning user_id into v_user.id;
  if v_user.id is null then
    perform private.refuse(400, 'token_invalid', 'This link is no longer valid. Ask for a new one.');
  end if;
  perform from public.users where id = v_user.id and status = 'active' for no key update;
  if not found then
    perform private.refuse(401, 'person_inactive', 'This account is not active.');
  end if;
  if exists (select from public.users where id = v_user.id and email_verified_at is null) then
    update public.users set email_verified_at = now() where id = v_user.id;
    perform private.audit('accounts.address_verified', v_user.id, '{"by": "reset"}', v_user.id);
  end if;
  v_user := private.set_password(v_user.id, p_password_hash);
  perform private.audit('accounts.password_reset', v_user.id,
    jsonb_build_object('ended', private.end_sign_ins(v_user.id, 'password_reset')), v_user.id);
  perform private.post(p_outbox_id, 'mail', p_mail);
  return private.answer(p_entry, v_entry, private.begin_sign_in(p_entry, v_user, p_sign_in_id, p_refresh_id,
    p_refresh_hash, p_refresh_expires_at, p_device, 'reset'));
exception when sqlstate 'PT400' or sqlstate 'PT401' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- p_password_set_at and p_attempt are what find_credentials gave with the hash that the current password was checked
-- against.
create function public.change_password(
  p_entry jsonb, p_password_set_at timestamptz, p_password_hash text, p_attempt text, p_outbox_id uuid, p_mail jsonb
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
  v_user public.users;
  v_extra text;
  v_detail text;
begin
  select * into v_user from public.users where id = private.person_id() for no key update;
  if v_user.password_set_at is distinct from p_password_set_at then
    perform private.refuse(403, 'password_wrong', 'The current password is wrong.');
  end if;
  perform private.give_back_attempt(p_attempt);
  v_user := private.set_password(v_user.id, p_password_hash);
  perform private.audit('accounts.password_changed', null, jsonb_build_object(
    'ended', private.end_sign_ins(v_user.id, 'password_changed', (private.claims() ->> 'sid')::uuid)));
  -- Not private.post, which looks for an entry of that id: a person may add to the outbox and read nothing in it.
  insert into public.outbox (id, kind, payload) values (p_outbox_id, 'mail', p_mail);
  return private.answer(p_entry, v_entry, '{}');
exception when sqlstate 'PT403' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

grant execute on function
  public.open_sign_in(jsonb, uuid, uuid, uuid, text, timestamptz, jsonb, jsonb), public.note_failed_sign_in(jsonb, uuid),
  public.renew_password_hash(jsonb, uuid, text, text),
  public.ask_password_reset(jsonb, text, text, timestamptz, uuid, jsonb), public.find_password_reset(jsonb, text),
  public.reset_password(jsonb, text, text, uuid, uuid, text, timestamptz, jsonb, uuid, jsonb)
  to service_role;
grant execute on function
  public.end_all_sign_ins(jsonb), public.list_sign_ins(jsonb, int, jsonb), public.end_one_sign_in(jsonb, uuid),
  public.change_password(jsonb, timestamptz, text, text, uuid, jsonb)
  to authenticated;

reset role;
revoke create on schema public, private from app_owner;
notify pgrst, 'reload schema';
