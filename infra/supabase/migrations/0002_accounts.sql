-- People, how they signed in, and the single-use tokens that reach them by mail. The functions are in 0004.

create table public.users (
  id uuid primary key,
  email text not null check (length(email) between 3 and 320),
  email_verified_at timestamptz,
  password_hash text,
  status text not null default 'active' check (status in ('active', 'suspended', 'deleted')),
  is_admin boolean not null default false,
  full_name text,
  preferred_name text,
  display_name text,
  avatar_url text,
  work_type text,
  ai_preferences text,
  timezone text,
  language text,
  preferences jsonb not null default '{}' check (jsonb_typeof(preferences) = 'object'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index users_email on public.users (lower(email)) where status <> 'deleted';
comment on table public.users is 'People. An address belongs to one person who is not deleted, whatever its case.';

create table public.sign_ins (
  id uuid primary key,
  user_id uuid not null references public.users on delete cascade,
  device jsonb not null default '{}',
  created_at timestamptz not null default now(),
  last_used_at timestamptz not null default now(),
  ended_at timestamptz,
  end_reason text check (end_reason in ('signed_out', 'refresh_token_reused'))
);
create index sign_ins_user on public.sign_ins (user_id, created_at desc);
comment on table public.sign_ins is 'Authenticated devices. Access tokens carry the id as `sid`; an ended one opens nothing.';

create table public.refresh_tokens (
  id uuid primary key,
  sign_in_id uuid not null references public.sign_ins on delete cascade,
  user_id uuid not null references public.users on delete cascade,
  token_hash text not null unique check (token_hash ~ '^[0-9a-f]{64}$'),
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  superseded_at timestamptz,
  successor_id uuid references public.refresh_tokens on delete set null
);
create index refresh_tokens_sign_in on public.refresh_tokens (sign_in_id);
create index refresh_tokens_user on public.refresh_tokens (user_id);
create index refresh_tokens_successor on public.refresh_tokens (successor_id);
create index refresh_tokens_expiry on public.refresh_tokens (expires_at);
comment on table public.refresh_tokens is 'Hashed, rotated at each use; the tokens of one sign-in are one family.';

create table public.one_time_tokens (
  token_hash text primary key check (token_hash ~ '^[0-9a-f]{64}$'),
  user_id uuid not null references public.users on delete cascade,
  purpose text not null check (purpose in ('verify_email')),
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz
);
create index one_time_tokens_user on public.one_time_tokens (user_id, purpose);
create index one_time_tokens_expiry on public.one_time_tokens (expires_at);
comment on table public.one_time_tokens is 'What a link in a mail carries, hashed: used once, within its time.';

alter table public.users enable row level security;
alter table public.users force row level security;
alter table public.sign_ins enable row level security;
alter table public.sign_ins force row level security;
alter table public.refresh_tokens enable row level security;
alter table public.refresh_tokens force row level security;
alter table public.one_time_tokens enable row level security;
alter table public.one_time_tokens force row level security;

-- A function acts for the person of the request, or for anyone when the server key called it.
create policy app on public.users for all to app_owner
  using (id = (select private.person_id()) or (select private.is_server()))
  with check (id = (select private.person_id()) or (select private.is_server()));
create policy app on public.sign_ins for all to app_owner
  using (user_id = (select private.person_id()) or (select private.is_server()))
  with check (user_id = (select private.person_id()) or (select private.is_server()));
create policy app on public.refresh_tokens for all to app_owner
  using ((select private.is_server())) with check ((select private.is_server()));
create policy app on public.one_time_tokens for all to app_owner
  using ((select private.is_server())) with check ((select private.is_server()));
grant select, insert, update on public.users, public.sign_ins to app_owner;
grant select, insert, update, delete on public.refresh_tokens, public.one_time_tokens to app_owner;

create policy own on public.users for select to authenticated using (id = (select auth.uid()));
create policy own on public.sign_ins for select to authenticated using (user_id = (select auth.uid()));
grant select (
  id, email, email_verified_at, status, is_admin, full_name, preferred_name, display_name, avatar_url, work_type,
  ai_preferences, timezone, language, preferences, created_at, updated_at
) on public.users to authenticated;
grant select (id, user_id, device, created_at, last_used_at, ended_at) on public.sign_ins to authenticated;
