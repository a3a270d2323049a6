-- What the server adds to each database. Its own functions are in pg_dsql: psql's \dn and \df leave out schemas
-- that begin so. `sys` is what clients see of it, as on Aurora DSQL.

set allow_system_table_mods = on;

create schema if not exists pg_dsql;

grant usage on schema pg_dsql to public;

create schema if not exists sys;

grant usage on schema sys to public;

-- --- What DSQL itself has in `sys` ------------------------------------------------------------------------

create table if not exists sys.jobs (
    job_id text primary key,
    status text not null,
    details text,
    job_type text,
    class_id oid,
    object_id oid,
    object_name text,
    start_time timestamptz,
    update_time timestamptz
);

grant select on sys.jobs to public;

create table if not exists sys.iam_pg_role_mappings (pg_role_oid oid, pg_role_name text, arn text);

grant select on sys.iam_pg_role_mappings to public;

create or replace procedure sys.wait_for_job(id text) language plpgsql as $$
declare
    found_status text;
begin
    if id !~ '^[a-z2-7]{26}$' then
        raise exception using errcode = '22P02', message = 'Unable to convert text to UUID';
    end if;
    loop
        select status into found_status from sys.jobs where job_id = id;
        if not found then
            raise exception using errcode = '22023', message = format('job %s does not exist', id);
        end if;
        exit when found_status not in ('submitted', 'processing');
        perform pg_sleep(0.01);
        commit;
    end loop;
end $$;

-- --- Errors, roles, jobs ----------------------------------------------------------------------------------

create or replace function pg_dsql.refuse(sqlstate_code text, words text, details text, advice text)
returns void language plpgsql as $$
begin
    raise exception using errcode = sqlstate_code, message = words, detail = details, hint = advice;
end $$;

create or replace procedure pg_dsql.iam_grant(role_name text, caller text) language plpgsql security definer as $$
declare
    role_oid oid;
begin
    select oid into role_oid from pg_roles where rolname = role_name;
    if role_oid is null then
        raise exception using errcode = '42704', message = format('role "%s" does not exist', role_name);
    end if;
    if not exists (select from sys.iam_pg_role_mappings where pg_role_oid = role_oid and arn = caller) then
        insert into sys.iam_pg_role_mappings values (role_oid, role_name, caller);
    end if;
end $$;

create or replace procedure pg_dsql.iam_revoke(role_name text, caller text) language plpgsql security definer as $$
begin
    delete from sys.iam_pg_role_mappings where pg_role_name = role_name and arn = caller;
    if not found then
        raise exception using errcode = '42704', message = format('role "%s" is not linked to %s', role_name, caller);
    end if;
end $$;

-- A job of an index or a constraint: the newest index of the table where the statement gave it no name.
create or replace function pg_dsql.note_job(id text, kind text, table_name text, index_name text, failure text)
returns void language plpgsql security definer as $$
declare
    index_oid oid;
begin
    if kind = 'INDEX_BUILD' then
        select i.indexrelid into index_oid
        from pg_index i join pg_class c on c.oid = i.indexrelid
        where i.indrelid = to_regclass(table_name) and (index_name = '' or c.relname = index_name)
            and pg_xact_status(i.xmin::text::xid8) = 'in progress'  -- one that was there has no job
        order by i.indexrelid desc limit 1;
        if index_oid is null and failure = '' then
            return;
        end if;
        if failure <> '' and index_name <> '' then
            -- What a build that failed leaves: the name is taken, until somebody drops it. The key is any column.
            execute format(
                'create index %I on %s (%I)', index_name, table_name,
                (select attname from pg_attribute where attrelid = to_regclass(table_name) and attnum > 0 and not attisdropped
                 order by attnum limit 1)
            );
            select i.indexrelid into index_oid
            from pg_index i join pg_class c on c.oid = i.indexrelid
            where i.indrelid = to_regclass(table_name) and c.relname = index_name;
            update pg_index set indisready = false where indexrelid = index_oid;
            -- In the words of the user guide.
            failure := replace(
                failure, format('could not create unique index "%s"', index_name),
                'Found duplicate key while validating index for UCVs'
            );
        end if;
        -- Not to be used until the job is done. PostgreSQL keeps an index that is not valid up to date.
        update pg_index set indisvalid = false where indexrelid = index_oid;
    end if;
    insert into sys.jobs values (
        id, case when failure = '' then 'submitted' else 'failed' end, nullif(failure, ''), kind, 1259,
        coalesce(index_oid, to_regclass(table_name)),
        (select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.oid = coalesce(index_oid, to_regclass(table_name))),
        now(), now()
    );
end $$;

create or replace function pg_dsql.finish_job(id text) returns void language sql security definer as $$
    update pg_index set indisvalid = true
    where indexrelid = (select object_id from sys.jobs where job_id = id and job_type = 'INDEX_BUILD' and status = 'submitted');
    update sys.jobs set status = 'completed', update_time = clock_timestamp() where job_id = id and status = 'submitted';
$$;

-- --- What the server knows of tables ----------------------------------------------------------------------

create or replace function pg_dsql.tables() returns json language sql stable security definer as $$
    select coalesce(json_agg(json_build_object(
        'oid', c.oid::int8,
        'schema', n.nspname,
        'name', c.relname,
        'is_view', c.relkind = 'v',
        'columns', (
            select coalesce(json_agg(json_build_array(a.attname, format_type(a.atttypid, a.atttypmod)) order by a.attnum), '[]')
            from pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
        ),
        'keys', (
            select coalesce(json_agg(k.columns order by not k.indisprimary, k.indexrelid), '[]')
            from (
                select i.indexrelid, i.indisprimary, (
                    select json_agg(a.attname order by x.place)
                    from unnest(i.indkey::int2[]) with ordinality as x (number, place)
                    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = x.number
                    where x.place <= i.indnkeyatts
                ) as columns
                from pg_index i
                where i.indrelid = c.oid and i.indisunique and i.indexprs is null and i.indpred is null
                    and not i.indnullsnotdistinct
            ) k
        ),
        'has_primary', exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary),
        'primary_key_name', coalesce(
            (select k.conname from pg_constraint k where k.conrelid = c.oid and k.contype = 'p'), ''
        ),
        'has_odd_key', exists (
            select from pg_index i where i.indrelid = c.oid and i.indisunique
                and (i.indexprs is not null or i.indpred is not null or i.indnullsnotdistinct)
        ),
        'index_count', (select count(*) from pg_index i where i.indrelid = c.oid),
        'defaults', (
            select coalesce(json_agg(pg_get_expr(d.adbin, d.adrelid)), '[]') from pg_attrdef d where d.adrelid = c.oid
        ),
        'has_identity', exists (select from pg_attribute a where a.attrelid = c.oid and a.attidentity <> ''),
        'cascades', exists (
            select from pg_constraint f where f.confrelid = c.oid
                and (f.confdeltype not in ('a', 'r') or f.confupdtype not in ('a', 'r'))
        ),
        'parents', (
            select coalesce(json_agg(f.confrelid::int8), '[]') from pg_constraint f where f.conrelid = c.oid and f.contype = 'f'
        ),
        'children', (
            select coalesce(json_agg(f.conrelid::int8), '[]') from pg_constraint f where f.confrelid = c.oid and f.contype = 'f'
        ),
        'base_names', case when c.relkind = 'v' then (
            select coalesce(json_agg(distinct b.relname), '[]')
            from pg_rewrite w
            join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.refclassid = 'pg_class'::regclass
            join pg_class b on b.oid = d.refobjid
            where w.ev_class = c.oid and b.oid <> c.oid
        ) else '[]' end
    )), '[]')
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'v') and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'sys')
$$;

-- How many there are of what DSQL limits.
create or replace function pg_dsql.counts() returns json language sql stable security definer as $$
    select json_build_array(
        (select count(*) from pg_namespace n where n.nspname !~ '^pg_'
            and n.nspname not in ('information_schema', 'public', 'sys')),
        count(*) filter (where c.relkind = 'r'),
        count(*) filter (where c.relkind = 'v'),
        count(*) filter (where c.relkind = 'S')
    )
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'sys')
$$;

create or replace function pg_dsql.types() returns json language sql stable as $$
    select json_object_agg(oid::int8, format_type(oid, null)) from pg_type where typtype in ('b', 'd', 'r', 'e')
$$;

-- --- Conflicts --------------------------------------------------------------------------------------------

create or replace function pg_dsql.key_columns(table_oid oid) returns text language sql stable security definer as $$
    select string_agg(format('t.%I', a.attname), ', ')
    from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
    where i.indrelid = table_oid and i.indisprimary
$$;

-- What tells a locked row apart: its table, the place of this version (empty where we wrote it: nobody else can
-- have seen it), its key, and the transaction that wrote this version.
create or replace function pg_dsql.locked(table_oid oid, place tid)
returns text language plpgsql stable security definer as $$
declare
    key text;
    writer xid;
begin
    execute format(
        'select row(%s)::text, xmin from %s t where ctid = $1',
        coalesce(pg_dsql.key_columns(table_oid), 't.ctid'), table_oid::regclass
    ) into key, writer using place;
    if writer is null then
        return null;
    end if;
    return json_build_array(
        table_oid::int8,
        case when pg_xact_status(writer::text::xid8) = 'in progress' then '' else place::text end,
        key, writer::text
    )::text;
end $$;

-- Whether this transaction has changed a row that another one had locked, in the version that it locked.
create or replace function pg_dsql.has_changed(table_oid oid, place text, key text, writer text, mode text)
returns bool language plpgsql security definer as $$
declare
    is_gone bool;
begin
    -- A version that our snapshot never saw is not one that we changed.
    if not pg_visible_in_snapshot(writer::xid8, pg_current_snapshot()) then
        return false;
    end if;
    execute format('select not exists (select from %s where ctid = $1)', table_oid::regclass)
        into is_gone using place::tid;
    if is_gone and mode = 'K' then
        execute format('select not exists (select from %s t where row(%s)::text = $1)',
            table_oid::regclass, pg_dsql.key_columns(table_oid)) into is_gone using key;
    end if;
    return is_gone;
end $$;

-- A transaction may insert a key that another has deleted meanwhile, and then sees two rows of it: PostgreSQL's
-- unique index knows of the deletion, our snapshot does not. DSQL has a duplicate key there.
create or replace function pg_dsql.has_no_doubles(query text, arguments text[])
returns void language plpgsql security definer as $$
declare
    found_double bool;
begin
    execute query into found_double using arguments;
    if found_double then
        raise exception using errcode = '40001', message = 'a key that another transaction has deleted';
    end if;
end $$;

create or replace function pg_dsql.changed_rows() returns int8 language sql volatile security definer as $$
    select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::int8 from pg_stat_xact_user_tables
    where schemaname !~ '^pg_'
$$;

-- The bytes of all rows that this transaction has written and that still stand, in the given tables.
create or replace function pg_dsql.written_bytes(table_names text[])
returns int8 language plpgsql security definer as $$
declare
    total int8 := 0;
    part int8;
    each text;
begin
    foreach each in array table_names loop
        execute format(
            'select coalesce(sum(octet_length(t::text)), 0) from %s t where age(xmin) <= age(pg_current_xact_id()::xid)',
            each::regclass
        ) into part;
        total := total + part;
    end loop;
    return total;
end $$;

-- --- Sizes of keys, values and rows -----------------------------------------------------------------------
-- Triggers of each table look at what is stored; they are marked internal, so that nobody is shown them. Their
-- conditions cost a row next to nothing, and only what may be too large is looked at. What they raise is put into
-- DSQL's words by the server.

create or replace function pg_dsql.refuse_key() returns trigger language plpgsql security definer as $$
declare
    size int8;
begin
    if tg_nargs > 0 then
        -- Keys of expressions, or of some rows alone.
        execute format('select greatest(%s) from (select ($1).*) t', tg_argv[0]) into size using new;
        if size is null or size <= :KEY_BYTES then
            return null;
        end if;
    end if;
    raise exception using errcode = '54000', message = 'pg_dsql key';
end $$;

-- Sizes are those of what is stored, after PostgreSQL's compression: a row's own trigger is given values that are not.
create or replace function pg_dsql.refuse_size() returns trigger language plpgsql security definer as $$
declare
    sizes text;
    row_size text;
    found_kind text;
begin
    select string_agg(format('(%L, pg_column_size(t.%I))', y.typname, a.attname), ', '),
        string_agg(format('coalesce(pg_column_size(t.%I), 0)', a.attname), ' + ')
        into sizes, row_size
    from pg_attribute a join pg_type y on y.oid = a.atttypid
    where a.attrelid = tg_relid and a.attnum > 0 and not a.attisdropped;
    execute format(
        'select v.kind from %s t, lateral (values %s, (''row'', %s)) v (kind, size)'
        || ' where age(t.xmin) <= age(pg_current_xact_id()::xid)'
        || ' and v.size > case v.kind when ''row'' then :ROW_BYTES else :COLUMN_BYTES end limit 1',
        tg_relid::regclass, sizes, row_size
    ) into found_kind;
    if found_kind is not null then
        raise exception using errcode = '54000', message = 'pg_dsql size ' || found_kind;
    end if;
    return null;
end $$;

-- What a value of a column may take at most, by its declaration.
create or replace function pg_dsql.most_bytes(a pg_attribute) returns int8 language sql immutable as $$
    select case
        when a.attlen > 0 then a.attlen
        when a.atttypid = 'numeric'::regtype then 24
        when a.atttypmod > 4 then 4 * (a.atttypmod - 4)
        else 1 << 30
    end
$$;

-- Make a table's triggers anew. A key's bytes are those of its columns and, in a secondary index, of the primary key's.
create or replace function pg_dsql.guard_sizes(source regclass) returns void language plpgsql security definer
set client_min_messages = warning as $$
declare
    keys text;
    expressions text;
    sizes text;
    conditions text[];
    names constant text[] := array['dsql_keys', 'dsql_expressions', 'dsql_sizes'];
begin
    select 'greatest(' || string_agg(size, ', ') || ') > :KEY_BYTES' into keys
    from (
        select string_agg(
            case when a.attlen > 0 then a.attlen::text else format('coalesce(octet_length(new.%I::text), 0)', a.attname) end,
            ' + '
        ) || format(' + %s', :KEY_BYTES_PER_FURTHER_COLUMN * (count(*) - 1)) as size
        from pg_index i
        left join pg_index p on p.indrelid = i.indrelid and p.indisprimary
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum > 0 and (
            a.attnum = any ((i.indkey::int2[])[0:i.indnkeyatts - 1])
            or a.attnum = any ((p.indkey::int2[])[0:p.indnkeyatts - 1])
        )
        where i.indrelid = source and i.indpred is null
        group by i.indexrelid
        having sum(pg_dsql.most_bytes(a)) + :KEY_BYTES_PER_FURTHER_COLUMN * (count(*) - 1) > :KEY_BYTES
    ) each_key;
    select string_agg(format('case when %s then %s end', coalesce(pg_get_expr(i.indpred, i.indrelid), 'true'), k.size), ', ')
        into expressions
    from pg_index i, lateral (
        select string_agg(format('octet_length((%s)::text)', pg_get_indexdef(i.indexrelid, place, false)), ' + ')
            || format(' + %s', :KEY_BYTES_PER_FURTHER_COLUMN * (count(*) - 1)) as size
        from generate_series(1, i.indnkeyatts) as place
    ) k
    where i.indrelid = source and (i.indexprs is not null or i.indpred is not null);
    -- Each value and the row: whatever is over a limit is over that of a value.
    select string_agg(format('coalesce(pg_column_size(new.%I), 0)', a.attname), ' + ') || ' > :COLUMN_BYTES'
        into sizes
    from pg_attribute a
    where a.attrelid = source and a.attnum > 0 and not a.attisdropped and a.attlen < 0
    having sum(pg_dsql.most_bytes(a)) > :COLUMN_BYTES;
    conditions := array[keys, case when expressions is not null then 'octet_length((new.*)::text) > :KEY_BYTES' end, sizes];
    for number in 1..3 loop
        execute format('drop trigger if exists %I on %s', names[number], source);
        if conditions[number] is not null then
            execute format(
                'create trigger %I after insert or update on %s for each row when (%s) execute function pg_dsql.%I(%s)',
                names[number], source, conditions[number], case number when 3 then 'refuse_size' else 'refuse_key' end,
                case number when 2 then quote_literal(expressions) end
            );
        end if;
    end loop;
    -- Nobody is to see them, and no column is kept from being dropped by them: then they are made anew.
    delete from pg_depend d using pg_trigger g
    where g.tgrelid = source and g.tgname = any (names) and d.classid = 'pg_trigger'::regclass and d.objid = g.oid
        and d.refobjsubid <> 0;
    update pg_trigger set tgisinternal = true where tgrelid = source and tgname = any (names);
end $$;

-- A directory may be older than what looks at its tables now.
select pg_dsql.guard_sizes(c.oid)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'sys');

create or replace function pg_dsql.guard_tables() returns event_trigger language plpgsql security definer as $$
begin
    perform pg_dsql.guard_sizes(c.oid)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'sys' and c.oid in (
        select coalesce(i.indrelid, d.objid) from pg_event_trigger_ddl_commands() d
        left join pg_index i on i.indexrelid = d.objid where d.classid = 'pg_class'::regclass
    );
end $$;

drop event trigger if exists dsql_guard_tables;

create event trigger dsql_guard_tables on ddl_command_end
    when tag in ('CREATE TABLE', 'ALTER TABLE', 'CREATE INDEX')
    execute function pg_dsql.guard_tables();

-- --- A doomed transaction's own copies --------------------------------------------------------------------
-- For each table that it writes: the rows that it may have changed (dsql_<oid>), where they came from
-- (dsql_<oid>_from), and a view of the whole table as the transaction sees it (dsql_<oid>_all).

create or replace function pg_dsql.own_copy(source regclass) returns int8 language plpgsql security definer as $$
declare
    name text := 'dsql_' || source::oid;
    columns text;
    identity_column record;
begin
    select string_agg(quote_ident(attname), ', ' order by attnum) into columns
    from pg_attribute where attrelid = source and attnum > 0 and not attisdropped;
    execute format('create temp table %I (like %s including all) on commit drop', name, source);
    execute format('create temp table %I (place tid) on commit drop', name || '_from');
    execute format(
        'create temp view %I as select %s from %s t where t.ctid <> all (array(select place from pg_temp.%I))'
        || ' union all select %s from pg_temp.%I',
        name || '_all', columns, source, name || '_from', columns, name
    );
    execute format('grant all on pg_temp.%I, pg_temp.%I to public', name, name || '_all');
    for identity_column in
        select attname, pg_get_serial_sequence(source::text, attname) as sequence
        from pg_attribute where attrelid = source and attidentity <> '' and not attisdropped
    loop
        perform setval(pg_get_serial_sequence('pg_temp.' || name, identity_column.attname),
            greatest(1, coalesce(pg_sequence_last_value(identity_column.sequence::regclass), 0) + 1));
        execute format('grant all on sequence %s to public',
            pg_get_serial_sequence('pg_temp.' || name, identity_column.attname));
    end loop;
    return source::oid::int8;
end $$;

-- Copy the rows whose places `hits` selects, unless they are there already.
create or replace function pg_dsql.bring(source regclass, hits text, arguments text[])
returns void language plpgsql security definer as $$
declare
    name text := 'dsql_' || source::oid;
    columns text;
begin
    select string_agg(quote_ident(attname), ', ' order by attnum) into columns
    from pg_attribute where attrelid = source and attnum > 0 and not attisdropped and attgenerated = '';
    execute format(
        'with hit as materialized (%s), fresh as materialized ('
        || 'select distinct h.place from hit h where h.place <> all (array(select place from pg_temp.%I))'
        || '), noted as (insert into pg_temp.%I select place from fresh)'
        || ' insert into pg_temp.%I (%s) overriding system value'
        || ' select %s from %s t where t.ctid = any (array(select place from fresh))',
        hits, name || '_from', name || '_from', name, columns, columns, source
    ) using arguments;
end $$;

-- --- Functions that must repeat their answers when a transaction's statements are run again ---------------
-- An SQL function that the planner inlines takes the place of a built-in one in stored expressions too.

create or replace function pg_dsql.now_exactly() returns timestamptz language internal volatile as 'clock_timestamp';

create or replace function pg_dsql.fix(seed float8, moment text) returns void language plpgsql as $$
begin
    perform setseed(seed);
    perform set_config('dsql.moment', moment, true);
end $$;

create or replace function pg_catalog.clock_timestamp() returns timestamptz language sql volatile as $$
    select coalesce(nullif(current_setting('dsql.moment', true), '')::timestamptz, pg_dsql.now_exactly())
$$;

create or replace function pg_catalog.statement_timestamp() returns timestamptz language sql stable as $$
    select coalesce(nullif(current_setting('dsql.moment', true), '')::timestamptz, pg_dsql.now_exactly())
$$;

create or replace function pg_catalog.gen_random_uuid() returns uuid language sql volatile parallel restricted as $$
    select (
        lpad(to_hex((random() * 4294967295)::int8), 8, '0') || lpad(to_hex((random() * 65535)::int), 4, '0')
        || '4' || lpad(to_hex((random() * 4095)::int), 3, '0')
        || to_hex(8 + (random() * 3)::int) || lpad(to_hex((random() * 4095)::int), 3, '0')
        || lpad(to_hex((random() * 4294967295)::int8), 8, '0') || lpad(to_hex((random() * 65535)::int), 4, '0')
    )::uuid
$$;

create or replace function pg_catalog.version() returns text language sql stable as $$ select 'PostgreSQL 16' $$;

create or replace function pg_catalog.current_setting(name text) returns text language sql stable as $$
    select case lower(name)
        when 'server_version' then '16.15'
        when 'server_version_num' then '160015'
        else current_setting(name, false)
    end
$$;
