-- Administration from outside the interface: the first administrator is made by a command, never by a request.

grant create on schema public to app_owner;
set local role app_owner;

create function public.set_administrator(p_email text, p_administrator boolean) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_user public.users;
begin
  update public.users set is_admin = p_administrator, updated_at = clock_timestamp()
    where lower(email) = lower(p_email) and status = 'active' and email_verified_at is not null
    returning * into v_user;
  if v_user.id is null then
    perform private.refuse(404, 'not_found', 'Nobody with this address is active and verified.');
  end if;
  return jsonb_build_object('id', v_user.id, 'email', v_user.email, 'is_admin', v_user.is_admin);
end $$;
comment on function public.set_administrator(text, boolean) is
  'For the administration tool: makes an active, verified person an administrator, or no longer one.';

revoke all on function public.set_administrator(text, boolean) from public;
grant execute on function public.set_administrator(text, boolean) to service_role;

reset role;
revoke create on schema public from app_owner;
notify pgrst, 'reload schema';
