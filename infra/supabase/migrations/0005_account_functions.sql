-- Registration, verification, sign-in, rotation, profile.

grant create on schema public, private to app_owner;
set local role app_owner;

create function private.profile(p_user public.users) returns jsonb language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'id', p_user.id, 'email', p_user.email, 'full_name', p_user.full_name, 'preferred_name', p_user.preferred_name,
    'display_name', p_user.display_name, 'avatar_url', p_user.avatar_url, 'work_type', p_user.work_type,
    'ai_preferences', p_user.ai_preferences, 'timezone', p_user.timezone, 'language', p_user.language,
    'preferences', p_user.preferences, 'is_admin', p_user.is_admin,
    'email_verified_at', private.stamp(p_user.email_verified_at),
    'created_at', private.stamp(p_user.created_at), 'updated_at', private.stamp(p_user.updated_at))
$$;

-- p_changes may hold any of the profile's own fields; null clears one; anything else in it changes nothing.
create function private.change_profile(p_user_id uuid, p_changes jsonb) returns public.users
language plpgsql set search_path = '' as $$
declare
  v_user public.users;
begin
  select * into v_user from public.users where id = p_user_id for update;
  v_user := jsonb_populate_record(v_user, (
    select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each(coalesce(p_changes, '{}'))
      where key in ('full_name', 'preferred_name', 'display_name', 'avatar_url', 'work_type', 'ai_preferences',
        'timezone', 'language', 'preferences')));
  update public.users set
      full_name = v_user.full_name, preferred_name = v_user.preferred_name, display_name = v_user.display_name,
      avatar_url = v_user.avatar_url, work_type = v_user.work_type, ai_preferences = v_user.ai_preferences,
      timezone = v_user.timezone, language = v_user.language, preferences = coalesce(nullif(v_user.preferences, 'null'), '{}'),
      updated_at = now()
    where id = p_user_id returning * into v_user;
  return v_user;
end $$;

-- One live link a person and purpose: making a new one voids those before it.
create function private.issue_link(p_user_id uuid, p_purpose text, p_token_hash text, p_expires_at timestamptz) returns void
language plpgsql set search_path = '' as $$
begin
  delete from public.one_time_tokens where user_id = p_user_id and purpose = p_purpose and used_at is null;
  insert into public.one_time_tokens (token_hash, user_id, purpose, expires_at)
    values (p_token_hash, p_user_id, p_purpose, p_expires_at);
end $$;

-- The same answer for a new and a known address. Whoever registers an address again before it is verified replaces the
-- credentials with the link: the link that is clicked verifies the password that was chosen with it, never an earlier
-- stranger's.
create function public.register_person(
  p_entry jsonb, p_user_id uuid, p_email text, p_password_hash text, p_profile jsonb, p_token_hash text,
  p_token_expires_at timestamptz, p_outbox_id uuid, p_mail jsonb, p_known_mail jsonb
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
  v_user public.users;
begin
  insert into public.users (id, email, password_hash) values (p_user_id, p_email, p_password_hash)
    on conflict (lower(email)) where status <> 'deleted' do nothing;
  select * into v_user from public.users where lower(email) = lower(p_email) and status <> 'deleted' for update;
  if v_user.email_verified_at is null and v_user.status = 'active' then
    update public.users set password_hash = p_password_hash where id = v_user.id;
    perform private.change_profile(v_user.id, p_profile);
    perform private.issue_link(v_user.id, 'verify_email', p_token_hash, p_token_expires_at);
    perform private.post(p_outbox_id, 'mail', p_mail);
  else
    perform private.post(p_outbox_id, 'mail', p_known_mail);
  end if;
  return private.answer(p_entry, v_entry, jsonb_build_object('outbox_id', p_outbox_id));
end $$;

create function public.resend_verification(
  p_entry jsonb, p_email text, p_token_hash text, p_token_expires_at timestamptz, p_outbox_id uuid, p_mail jsonb
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
  v_user_id uuid;
begin
  select id into v_user_id from public.users
    where lower(email) = lower(p_email) and status = 'active' and email_verified_at is null for update;
  if v_user_id is null then
    return private.answer(p_entry, v_entry, '{"outbox_id": null}');
  end if;
  perform private.issue_link(v_user_id, 'verify_email', p_token_hash, p_token_expires_at);
  perform private.post(p_outbox_id, 'mail', p_mail);
  return private.answer(p_entry, v_entry, jsonb_build_object('outbox_id', p_outbox_id));
end $$;

-- Unknown, used and expired are one answer.
create function public.verify_email(p_entry jsonb, p_token_hash text) returns jsonb
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
  return private.answer(p_entry, v_entry, jsonb_build_object('user_id', v_user_id));
exception when sqlstate 'PT400' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

create function public.find_credentials(p_entry jsonb, p_email text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
begin
  return private.answer(p_entry, v_entry, (
    select jsonb_build_object('user_id', id, 'password_hash', password_hash, 'verified', email_verified_at is not null,
        'status', status)
      from public.users where lower(email) = lower(p_email) and status <> 'deleted'));
end $$;

create function public.open_sign_in(
  p_entry jsonb, p_user_id uuid, p_sign_in_id uuid, p_refresh_id uuid, p_refresh_hash text,
  p_refresh_expires_at timestamptz, p_device jsonb
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
  insert into public.sign_ins (id, user_id, device) values (p_sign_in_id, p_user_id, coalesce(p_device, '{}'))
    on conflict (id) do nothing;
  insert into public.refresh_tokens (id, sign_in_id, user_id, token_hash, expires_at)
    values (p_refresh_id, p_sign_in_id, p_user_id, p_refresh_hash, p_refresh_expires_at) on conflict (id) do nothing;
  return private.answer(p_entry, v_entry,
    jsonb_build_object('user', private.profile(v_user), 'sign_in_id', p_sign_in_id));
exception when sqlstate 'PT401' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- Why a refresh token may not be used, or null. Called with its sign-in locked. The token before the current one is
-- good for 30 s more, for the device whose answer got lost; any other superseded one was copied, and ends the sign-in.
create function private.refuse_refresh(p_token public.refresh_tokens, p_new_hash text) returns text
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

-- Refusals are answers, because the end of a family has to be committed. The family stays one line: a token accepted
-- again within its grace supersedes what it was exchanged for before. Asking again with the same new token is the same
-- rotation.
create function public.rotate_refresh(
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
    update public.sign_ins set last_used_at = now() where id = v_token.sign_in_id;
  end if;
  select private.profile(u) into v_profile from public.users u where u.id = v_token.user_id;
  return private.answer(p_entry, v_entry, jsonb_build_object('user', v_profile, 'sign_in_id', v_token.sign_in_id));
end $$;

create function public.end_sign_in(p_entry jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
begin
  update public.sign_ins set ended_at = now(), end_reason = 'signed_out'
    where id = (private.claims() ->> 'sid')::uuid and user_id = private.person_id() and ended_at is null;
  return private.answer(p_entry, v_entry, '{}');
end $$;

create function public.get_me(p_entry jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
begin
  return private.answer(p_entry, v_entry, (
    select private.profile(u) from public.users u where u.id = private.person_id()));
end $$;

create function public.update_me(p_entry jsonb, p_changes jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter(p_entry);
begin
  return private.answer(p_entry, v_entry, private.profile(private.change_profile(private.person_id(), p_changes)));
end $$;

grant execute on function
  public.register_person(jsonb, uuid, text, text, jsonb, text, timestamptz, uuid, jsonb, jsonb),
  public.resend_verification(jsonb, text, text, timestamptz, uuid, jsonb), public.verify_email(jsonb, text),
  public.find_credentials(jsonb, text), public.open_sign_in(jsonb, uuid, uuid, uuid, text, timestamptz, jsonb),
  public.rotate_refresh(jsonb, text, uuid, text, timestamptz)
  to service_role;
grant execute on function public.end_sign_in(jsonb), public.get_me(jsonb), public.update_me(jsonb, jsonb) to authenticated;

reset role;
revoke create on schema public, private from app_owner;
