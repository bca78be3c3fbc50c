-- Run after every migration: Procrastinate's own tables and functions live in this schema; its functions find them whatever
-- the caller's path, and leave the jobs of slaq's queues to slaq's workers.
DO $do$
DECLARE
    routine regprocedure;
    body text := (
        SELECT pg_catalog.pg_get_functiondef(p.oid) FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'slaq'::regnamespace AND p.proname = 'procrastinate_fetch_job_v2'
    );
    waiting text := $$ jobs.status = 'todo'$$;
BEGIN
    IF pg_catalog.strpos(coalesce(body, ''), 'slaq:') = 0 THEN
        IF pg_catalog.strpos(coalesce(body, ''), waiting) = 0 THEN
            RAISE EXCEPTION 'Procrastinate fetches otherwise than slaq knows' USING HINT = 'Is its version supported?';
        END IF;
        EXECUTE pg_catalog.replace(body, waiting, waiting || $$ AND jobs.task_name NOT LIKE 'slaq:%'$$);
    END IF;
    FOR routine IN
        SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'slaq'::regnamespace AND p.proname LIKE 'procrastinate\_%'
    LOOP
        EXECUTE pg_catalog.format('ALTER ROUTINE %s SET search_path = slaq, pg_temp', routine);
    END LOOP;
END
$do$;
