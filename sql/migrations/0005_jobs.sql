-- What slaq asks of its job queue, in the caller's transaction.
-- Enqueue jobs in the caller's transaction. Applications may add jobs of slaq without seeing anybody's.
-- jobs: [{"queue": ..., "task": ..., "args": {...}}, ...]
CREATE FUNCTION slaq.enqueue(jobs jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT slaq.procrastinate_defer_jobs_v1(array_agg(
        ROW(job ->> 'queue', job ->> 'task', 0, NULL, NULL, job -> 'args', NULL)::slaq.procrastinate_job_to_defer_v1
        ORDER BY position
    ))
    FROM jsonb_array_elements(jobs) WITH ORDINALITY AS listed (job, position)
    HAVING count(*) > 0;
END;

-- Ask once for the open tickets of a tenant to be brought in line with its configuration. A request that
-- already waits is locked until this transaction ends, so the worker cannot run it before the change is visible.
CREATE FUNCTION slaq.request_resync(p_tenant text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    INSERT INTO slaq.procrastinate_jobs (queue_name, task_name, queueing_lock, args)
    VALUES ('sla', 'sla-resync', 'sla-resync:' || p_tenant, jsonb_build_object('tenant', p_tenant))
    ON CONFLICT (queueing_lock) WHERE status = 'todo' DO UPDATE SET priority = excluded.priority;
END;
