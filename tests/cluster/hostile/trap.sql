-- What the owner of a database can put in the place of what PostgreSQL has. It says so in the log when a check runs it.
create schema evil;
create function evil.sprung() returns void language plpgsql as $$ begin
  if pg_catalog.current_setting('application_name') operator(pg_catalog.=) 'distributary' then
    raise log 'the trap is sprung';
  end if;
end $$;
create function evil.same(text, text) returns bool language plpgsql as $$ begin perform evil.sprung(); return false; end $$;
create function evil.same(name, text) returns bool language plpgsql as $$ begin perform evil.sprung(); return false; end $$;
create function evil.same(name, name) returns bool language plpgsql as $$ begin perform evil.sprung(); return false; end $$;
create function evil.at_least(int4, int4) returns bool language plpgsql as $$ begin perform evil.sprung(); return false; end $$;
create function evil.plus(int8, int8) returns int8 language plpgsql as $$ begin perform evil.sprung(); return 0; end $$;
create function evil.times(numeric, numeric) returns numeric language plpgsql as $$ begin perform evil.sprung(); return 0; end $$;
create function evil.times(numeric, int4) returns numeric language plpgsql as $$ begin perform evil.sprung(); return 0; end $$;
create operator evil.= (leftarg = text, rightarg = text, function = evil.same);
create operator evil.= (leftarg = name, rightarg = text, function = evil.same);
create operator evil.= (leftarg = name, rightarg = name, function = evil.same);
create operator evil.<> (leftarg = text, rightarg = text, function = evil.same);
create operator evil.>= (leftarg = int4, rightarg = int4, function = evil.at_least);
create operator evil.+ (leftarg = int8, rightarg = int8, function = evil.plus);
create operator evil.* (leftarg = numeric, rightarg = numeric, function = evil.times);
create operator evil.* (leftarg = numeric, rightarg = int4, function = evil.times);
create function evil.counted(int8) returns int8 language plpgsql as $$ begin perform evil.sprung(); return 0; end $$;
create aggregate evil.count(*) (sfunc = evil.counted, stype = int8, initcond = '0');
create aggregate evil.sum(int8) (sfunc = evil.plus, stype = int8, initcond = '0');
create function evil.joined(text, text, text) returns text language plpgsql as $$ begin perform evil.sprung(); return ''; end $$;
create aggregate evil.string_agg(text, text) (sfunc = evil.joined, stype = text);
create function evil.pg_is_in_recovery() returns bool language plpgsql as $$ begin perform evil.sprung(); return true; end $$;
create function evil.current_setting(text) returns text language plpgsql as $$ begin perform evil.sprung(); return 'off'; end $$;
create function evil.set_config(text, text, bool) returns text language plpgsql as $$ begin perform evil.sprung(); return ''; end $$;
create function evil.is_short(pg_catalog.text) returns bool language plpgsql as $$ begin perform evil.sprung(); return true; end $$;
create domain evil.text as pg_catalog.text check (evil.is_short(value));
create domain evil.int8 as pg_catalog.int8 check (evil.is_short('8'));
create domain evil.bool as pg_catalog.bool check (evil.is_short('b'));
grant usage on schema evil to public;
