-- Run after every migration: Procrastinate's own tables and functions live in this schema; its functions find them whatever the caller's path.
DO $$
DECLARE
    routine regprocedure;
BEGIN
    FOR routine IN
        SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'slaq'::regnamespace AND p.proname LIKE 'procrastinate\_%'
    LOOP
        EXECUTE pg_catalog.format('ALTER ROUTINE %s SET search_path = slaq, pg_temp', routine);
    END LOOP;
END
$$;
