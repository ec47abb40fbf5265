-- Exports page by the whole primary key of a table, and sealing gives way before a statement may run no longer.

grant create on schema public to app_owner;
set local role app_owner;

-- A page of a person's rows, in the order of their primary keys: exactly the columns that the person may read with a
-- token of their own, so never a hash or a sealed value. p_after is the last key of the page before, a JSON array of its
-- columns as text.
create or replace function public.export_rows(p_user_id uuid, p_table text, p_after text, p_limit int) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_owner text := private.owner_column(p_table);
  v_table constant regclass := to_regclass(format('public.%I', p_table));
  v_key record;
  v_columns text;
  v_rows jsonb;
begin
  select string_agg(format('%I', a.attname), ', ' order by k.place) as columns,
      string_agg(format('%I::text', a.attname), ', ' order by k.place) as written,
      string_agg(format('($2::jsonb ->> %s)::%s', k.place - 1, format_type(a.atttypid, null)), ', ' order by k.place) as given
    into v_key from pg_catalog.pg_index i cross join unnest(i.indkey) with ordinality k (number, place)
      join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
    where i.indrelid = v_table and i.indisprimary;
  select string_agg(format('%I', attname), ', ' order by attnum) into v_columns from pg_catalog.pg_attribute
    where attrelid = v_table and attnum > 0 and not attisdropped
      and has_column_privilege('authenticated', attrelid, attnum, 'select');
  if v_columns is null or v_key.columns is null then
    perform private.refuse(404, 'not_found', 'No column of this table is for the person.');
  end if;
  execute format(
    'select coalesce(jsonb_agg(jsonb_build_object(''key'', page._key, ''row'', to_jsonb(page) - ''_key'')), ''[]'') from ('
      'select jsonb_build_array(%1$s)::text as _key, %2$s from public.%3$I'
      ' where %4$I = $1 and ($2 is null or (%5$s) > (%6$s)) order by %5$s limit $3) page',
    v_key.written, v_columns, p_table, v_owner, v_key.columns, v_key.given) into v_rows using p_user_id, p_after, p_limit;
  return jsonb_build_object('rows', coalesce(jsonb_path_query_array(v_rows, '$[*].row'), '[]'),
    'next', case when jsonb_array_length(v_rows) = p_limit then v_rows -> -1 ->> 'key' end);
end $$;

-- Seals at most p_limit hours, the oldest first, and begins no further one after three seconds. Where a writer of an
-- hour is still at work after ten minutes, that hour and those after it wait for the next time.
create or replace function public.seal_audit(p_limit int) returns jsonb
language plpgsql security definer set search_path = '' set lock_timeout = '2s' set statement_timeout = '60s' as $$
declare
  v_last public.audit_seals;
  v_seal public.audit_seals;
  v_first timestamptz;
  v_sealed int := 0;
begin
  perform pg_advisory_xact_lock(hashtextextended('audit seals', 0));
  select * into v_last from public.audit_seals order by number desc limit 1;
  while v_sealed < p_limit and clock_timestamp() < statement_timestamp() + interval '3 seconds' loop
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

reset role;
revoke create on schema public from app_owner;
