-- Runs first whenever the functions are applied again: a changed signature cannot be replaced, and
-- one that is gone must not stay callable. All in the transaction of the whole re-application.
DO $$
DECLARE
  item record;
BEGIN
  FOR item IN
    SELECT t.tgname, t.tgrelid::regclass AS relation
    FROM pg_trigger t
    JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = 'meridian'::regnamespace AND NOT t.tgisinternal
  LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', item.tgname, item.relation);
  END LOOP;
  FOR item IN
    SELECT p.oid::regprocedure AS signature
    FROM pg_proc p
    WHERE p.pronamespace IN ('meridian'::regnamespace, 'report'::regnamespace)
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.refobjid = p.oid AND d.deptype = 'n' AND d.classid <> 'pg_proc'::regclass)
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
  LOOP
    EXECUTE format('DROP FUNCTION %s', item.signature);
  END LOOP;
  -- The internal views; those of report stay, for others may have built on them.
  FOR item IN SELECT c.oid::regclass AS name FROM pg_class c
              WHERE c.relnamespace = 'meridian'::regnamespace AND c.relkind = 'v'
  LOOP
    EXECUTE format('DROP VIEW %s', item.name);
  END LOOP;
END $$;
