-- What slaq asks of its job queue.
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

-- A job that goes back to the queue gives up its queueing lock, under which another may be waiting by now: with the lock it
-- could not go back, and would be in work for ever.
CREATE FUNCTION slaq.give_up_queueing_lock() RETURNS trigger
LANGUAGE plpgsql SET search_path = slaq, pg_temp
AS $$
BEGIN
    NEW.queueing_lock := NULL;
    RETURN NEW;
END
$$;
CREATE TRIGGER give_up_queueing_lock BEFORE UPDATE ON slaq.procrastinate_jobs FOR EACH ROW
    WHEN (OLD.status = 'doing' AND NEW.status = 'todo' AND NEW.task_name NOT LIKE 'slaq:%')
    EXECUTE FUNCTION slaq.give_up_queueing_lock();

-- Give back the jobs of workers that are gone or whose heart stopped. Everything here may be run twice; a job that
-- takes its worker down again and again fails at last. The jobs of queues, named slaq:..., keep locks, retry limits and
-- dead letters by rules of their own.
CREATE FUNCTION slaq.recover_stalled_jobs(p_now timestamptz, p_stale interval, p_attempts integer) RETURNS SETOF bigint
LANGUAGE sql VOLATILE SET search_path = slaq, pg_temp
BEGIN ATOMIC
    UPDATE slaq.procrastinate_jobs j SET
        status = CASE
            WHEN j.abort_requested THEN 'aborted'
            WHEN j.attempts + 1 >= p_attempts THEN 'failed'
            ELSE 'todo'
        END::slaq.procrastinate_job_status,
        attempts = j.attempts + 1,
        abort_requested = false,
        worker_id = NULL
    WHERE j.status = 'doing' AND j.task_name NOT LIKE 'slaq:%' AND NOT EXISTS (
        SELECT FROM slaq.procrastinate_workers w WHERE w.id = j.worker_id AND w.last_heartbeat > p_now - p_stale
    )
    RETURNING j.id;
END;
