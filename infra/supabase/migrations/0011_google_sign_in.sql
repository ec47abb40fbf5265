-- Signing in with Google: the flows under way, and which Google account opens which person.

-- A flow begins before anybody knows whose it is, so its state belongs to a browser and not to a person. The payload
-- holds what only the flow's end needs; null says that the flow has ended.
alter table public.one_time_tokens
  alter column user_id drop not null,
  add column browser_hash text check (browser_hash ~ '^[0-9a-f]{64}$'),
  add column payload jsonb,
  drop constraint one_time_tokens_purpose_check,
  add constraint one_time_tokens_purpose_check
    check (purpose in ('verify_email', 'reset_password', 'google_sign_in')),
  add constraint one_time_tokens_owner_check check (
    user_id is not null or (purpose = 'google_sign_in' and browser_hash is not null)
  );
comment on table public.one_time_tokens is
  'What a link in a mail carries, or the state of an OAuth flow, hashed: used once, within its time.';

create table public.google_identities (
  subject text primary key check (length(subject) between 1 and 255),
  user_id uuid not null unique references public.users on delete cascade,
  email text check (length(email) <= 320),
  linked_at timestamptz not null default now(),
  last_used_at timestamptz not null default now()
);
comment on table public.google_identities is
  'The Google account that opens a person, by the id that Google never changes; email is what Google said last.';

alter table public.google_identities enable row level security;
alter table public.google_identities force row level security;
create policy app on public.google_identities for all to app_owner
  using (user_id = (select private.person_id()) or (select private.is_server()))
  with check (user_id = (select private.person_id()) or (select private.is_server()));
grant select, insert, update on public.google_identities to app_owner;

create policy own on public.google_identities for select to authenticated using (user_id = (select auth.uid()));
grant select (subject, user_id, email, linked_at, last_used_at) on public.google_identities to authenticated;

grant create on schema public, private to app_owner;
set local role app_owner;

create function public.begin_google_sign_in(
  p_entry jsonb, p_state_hash text, p_browser_hash text, p_payload jsonb, p_expires_at timestamptz
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
begin
  insert into public.one_time_tokens (token_hash, purpose, browser_hash, payload, expires_at)
    values (p_state_hash, 'google_sign_in', p_browser_hash, p_payload, p_expires_at);
  return private.answer(p_entry, v_entry, '{}');
end $$;

-- A browser passes by on its way from Google to the page. Nothing is spent; the flow is only looked at.
create function public.pass_google_callback(p_entry jsonb, p_state_hash text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
begin
  return private.answer(p_entry, v_entry, jsonb_build_object('known', exists (
    select from public.one_time_tokens
      where token_hash = p_state_hash and purpose = 'google_sign_in' and used_at is null and expires_at > now())));
end $$;

-- Unknown, forged, used, expired and begun in another browser are one answer. Whoever has the state alone does not even
-- spend it.
create function public.claim_google_sign_in(p_entry jsonb, p_state_hash text, p_browser_hash text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
  v_payload jsonb;
  v_extra text;
  v_detail text;
begin
  update public.one_time_tokens set used_at = now()
    where token_hash = p_state_hash and purpose = 'google_sign_in' and browser_hash = p_browser_hash
      and used_at is null and expires_at > now()
    returning payload into v_payload;
  if v_payload is null then
    perform private.refuse(400, 'state_invalid',
      'This sign-in was not begun in this browser, took too long, or has ended. Begin again.');
  end if;
  return private.answer(p_entry, v_entry, v_payload);
exception when sqlstate 'PT400' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

-- Google was away: the same request may be tried again within the flow's time.
create function public.release_google_sign_in(p_state_hash text) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  update public.one_time_tokens set used_at = null
    where token_hash = p_state_hash and purpose = 'google_sign_in' and used_at is not null and payload is not null;
  return jsonb_build_object('released', found);
end $$;

-- An unconfirmed registration becomes its address' owner's. Whoever typed it chose a password and a profile that nobody
-- has vouched for, so nothing of either stays, and the links that wait for it are void; but for one that is being
-- followed at this very moment, by who reads the mail: that request waits for us, and we must not wait for it.
create function private.take_over_registration(p_user_id uuid) returns void
language plpgsql set search_path = '' as $$
begin
  update public.users set
      password_hash = null, email_verified_at = now(), full_name = null, preferred_name = null, display_name = null,
      avatar_url = null, work_type = null, ai_preferences = null, timezone = null, language = null, preferences = '{}',
      updated_at = now()
    where id = p_user_id;
  delete from public.one_time_tokens where token_hash in (
    select token_hash from public.one_time_tokens where user_id = p_user_id and used_at is null for update skip locked);
end $$;

-- Whom a Google account opens that opens nobody yet, and how they came to be theirs. p_google is {"subject", "email" |
-- null, "email_verified", "vouched": whether Google speaks for the address itself}.
create function private.link_google_account(p_user_id uuid, p_google jsonb, out user_id uuid, out how text)
language plpgsql set search_path = '' as $$
declare
  v_user public.users;
begin
  if p_google ->> 'email' is null or not (p_google ->> 'email_verified')::boolean then
    perform private.refuse(403, 'google_email_unverified',
      'Google does not confirm an e-mail address for this account. Register with your address and a password.');
  end if;
  insert into public.users (id, email, email_verified_at) values (p_user_id, p_google ->> 'email', now())
    on conflict (lower(email)) where status <> 'deleted' do nothing;
  select * into v_user from public.users
    where lower(email) = lower(p_google ->> 'email') and status <> 'deleted' for update;
  if v_user.status is distinct from 'active' then
    perform private.refuse(401, 'person_inactive', 'This account is not active.');
  elsif v_user.id = p_user_id then
    how := 'signed_up';
  elsif v_user.email_verified_at is null then
    perform private.take_over_registration(v_user.id);
    how := 'signed_up';
  elsif exists (select from public.google_identities i where i.user_id = v_user.id) then
    perform private.refuse(409, 'google_account_differs',
      'The account with this address is linked to another Google account. Sign in with that one or with a password.');
  elsif not (p_google ->> 'vouched')::boolean then
    perform private.refuse(403, 'google_address_unowned',
      'An account with this address exists, and Google does not own the address. Sign in with your password.');
  else
    how := 'linked';
  end if;
  user_id := v_user.id;
  insert into public.google_identities (subject, user_id) values (p_google ->> 'subject', v_user.id);
end $$;

-- What Google tells of a person fills what they have left empty, and changes nothing that they have said themselves.
create function private.fill_profile(p_user_id uuid, p_profile jsonb) returns void
language sql set search_path = '' as $$
  update public.users set
      full_name = coalesce(full_name, p_profile ->> 'full_name'),
      preferred_name = coalesce(preferred_name, p_profile ->> 'preferred_name'),
      avatar_url = coalesce(avatar_url, p_profile ->> 'avatar_url'),
      language = coalesce(language, p_profile ->> 'language'),
      updated_at = now()
    where id = p_user_id and (
      full_name is null and p_profile ->> 'full_name' is not null
      or preferred_name is null and p_profile ->> 'preferred_name' is not null
      or avatar_url is null and p_profile ->> 'avatar_url' is not null
      or language is null and p_profile ->> 'language' is not null)
$$;

-- The end of a flow whose state was claimed: person, link, profile and sign-in come to be together or not at all.
create function public.finish_google_sign_in(
  p_entry jsonb, p_state_hash text, p_google jsonb, p_profile jsonb, p_user_id uuid, p_sign_in_id uuid, p_refresh_id uuid,
  p_refresh_hash text, p_refresh_expires_at timestamptz, p_device jsonb
) returns jsonb language plpgsql security definer set search_path = '' as $$
declare
  v_entry jsonb := private.enter_unsigned(p_entry);
  v_user_id uuid;
  v_how text := 'signed_in';
  v_opened jsonb;
  v_extra text;
  v_detail text;
begin
  update public.one_time_tokens set payload = null
    where token_hash = p_state_hash and purpose = 'google_sign_in' and used_at is not null and payload is not null;
  if not found then
    perform private.refuse(400, 'state_invalid', 'This sign-in has ended. Begin again.');
  end if;
  -- Flows of one Google account wait for each other, so that the first of them links it and the others find the link.
  perform pg_advisory_xact_lock(hashtextextended('google ' || (p_google ->> 'subject'), 0));
  select user_id into v_user_id from public.google_identities where subject = p_google ->> 'subject';
  if v_user_id is null then
    select linked.user_id, linked.how into v_user_id, v_how from private.link_google_account(p_user_id, p_google) linked;
  end if;
  perform from public.users where id = v_user_id and status = 'active' for update;
  if not found then
    perform private.refuse(401, 'person_inactive', 'This account is not active.');
  end if;
  perform private.fill_profile(v_user_id, p_profile);
  update public.google_identities set email = p_google ->> 'email', last_used_at = now()
    where subject = p_google ->> 'subject';
  perform private.audit('accounts.google_' || v_how, v_user_id, '{}', v_user_id);
  v_opened := public.open_sign_in(
    p_entry - 'rate', v_user_id, p_sign_in_id, p_refresh_id, p_refresh_hash, p_refresh_expires_at, p_device,
    '{"by": "google"}');
  return private.answer(p_entry, v_entry, v_opened -> 'data');
exception when sqlstate 'PT400' or sqlstate 'PT401' or sqlstate 'PT403' or sqlstate 'PT409' then
  get stacked diagnostics v_extra = pg_exception_detail, v_detail = pg_exception_hint;
  return private.refused(sqlstate, sqlerrm, v_extra, v_detail);
end $$;

grant execute on function
  public.begin_google_sign_in(jsonb, text, text, jsonb, timestamptz), public.pass_google_callback(jsonb, text),
  public.claim_google_sign_in(jsonb, text, text), public.release_google_sign_in(text),
  public.finish_google_sign_in(jsonb, text, jsonb, jsonb, uuid, uuid, uuid, text, timestamptz, jsonb)
  to service_role;

reset role;
revoke create on schema public, private from app_owner;
