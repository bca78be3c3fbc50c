-- slaq's own jobs are jobs like any other, in queues named sla-..., which only workers reach.
--   sla-timer              the tick of the poller: all that is due
--   sla-resync             brings the open tickets of a tenant in line with its configuration
--   sla-send-email         one delivery
--   sla-threshold-reached  tells the application of a crossing; its own handler may take it
INSERT INTO slaq.queues (name, policy, options) VALUES
    ('sla-timer', 'exclusive', '{"retry_limit": 0, "expire_in": 900, "retention": 600, "delete_after": 86400}'),
    ('sla-resync', 'standard', '{"retry_limit": 19, "retry_delay": 2, "retry_backoff": true, "retry_delay_max": 600, "retention": 31536000}'),
    -- how often a mail is tried is a setting of the worker, which says when it is dead
    ('sla-send-email', 'standard', '{"retry_limit": 10000, "retention": 31536000}'),
    ('sla-threshold-reached', 'standard',
     '{"retry_limit": 24, "retry_delay": 2, "retry_backoff": true, "retry_delay_max": 600, "retention": 31536000}');
INSERT INTO slaq.queue_schedules (queue, cron, missed) VALUES ('sla-timer', '*/5 * * * *', 'once');

-- Enqueue jobs of slaq's own in the caller's transaction: [{"queue": ..., "data": {...}}, ...]. An application may, without
-- seeing anybody's.
CREATE FUNCTION slaq.enqueue(p_jobs jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    INSERT INTO slaq.procrastinate_jobs (queue_name, task_name, args)
    SELECT q.name, 'slaq:' || q.name, jsonb_build_object('data', job -> 'data', 'meta', slaq.stored_options(q, '{}'))
    FROM jsonb_array_elements(p_jobs) WITH ORDINALITY AS listed (job, position)
    JOIN slaq.queues q ON q.name = job ->> 'queue' AND q.name LIKE 'sla-%'
    ORDER BY position;
END;

-- Ask once for the open tickets of a tenant to be brought in line with its configuration. A request that
-- already waits is locked until this transaction ends, so the worker cannot run it before the change is visible.
CREATE FUNCTION slaq.request_resync(p_tenant text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    INSERT INTO slaq.procrastinate_jobs (queue_name, task_name, queueing_lock, args)
    SELECT q.name, 'slaq:' || q.name, 'created:sla-resync:' || p_tenant, jsonb_build_object(
        'data', jsonb_build_object('tenant', p_tenant), 'meta', slaq.stored_options(q, '{}'))
    FROM slaq.queues q WHERE q.name = 'sla-resync'
    ON CONFLICT (queueing_lock) WHERE status = 'todo' AND queueing_lock IS NOT NULL DO UPDATE SET priority = excluded.priority;
END;
