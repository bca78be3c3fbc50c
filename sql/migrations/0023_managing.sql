-- Looking after queues and jobs.

-- Make a queue, or leave the one of that name as it is. Returns whether it is new.
CREATE FUNCTION slaq.create_queue(p_name text, p_policy text DEFAULT 'standard', p_settings jsonb DEFAULT '{}') RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
BEGIN
    IF p_name LIKE 'sla-%' THEN
        RAISE EXCEPTION 'queue "%" cannot be made: names that begin with sla- are slaq''s own', p_name USING ERRCODE = 'SQ400';
    END IF;
    IF p_settings ? 'dead_letter' AND p_settings ->> 'dead_letter' <> p_name THEN
        PERFORM slaq.queue_named(p_settings ->> 'dead_letter');
    END IF;
    INSERT INTO slaq.queues (name, policy, dead_letter, warning_size, options)
    VALUES (
        p_name, p_policy, p_settings ->> 'dead_letter', coalesce((p_settings ->> 'warning_size')::integer, 10000),
        p_settings - ARRAY['dead_letter', 'warning_size']
    )
    ON CONFLICT (name) DO NOTHING;
    RETURN FOUND;
END
$$;

-- Change settings of a queue; a JSON null puts one back to the library's own. Jobs that exist keep what they have.
CREATE FUNCTION slaq.update_queue(p_name text, p_settings jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
BEGIN
    PERFORM slaq.queue_named(p_name);
    PERFORM slaq.queue_named(p_settings ->> 'dead_letter') WHERE p_settings ->> 'dead_letter' <> p_name;
    UPDATE slaq.queues SET
        dead_letter = CASE WHEN p_settings ? 'dead_letter' THEN p_settings ->> 'dead_letter' ELSE dead_letter END,
        warning_size = coalesce((p_settings ->> 'warning_size')::integer, warning_size),
        options = jsonb_strip_nulls(options || (p_settings - ARRAY['dead_letter', 'warning_size'])),
        updated_at = clock_timestamp()
    WHERE name = p_name;
END
$$;

-- Delete a queue with its jobs, schedules and subscriptions; returns whether there was one.
CREATE FUNCTION slaq.delete_queue(p_name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
BEGIN
    IF p_name LIKE 'sla-%' THEN
        RAISE EXCEPTION 'queue "%" cannot be deleted: it is slaq''s own', p_name USING ERRCODE = 'SQ400';
    END IF;
    UPDATE slaq.queues SET dead_letter = NULL WHERE dead_letter = p_name;
    DELETE FROM slaq.procrastinate_jobs WHERE queue_name = p_name AND task_name = 'slaq:' || p_name;
    DELETE FROM slaq.queues WHERE name = p_name;
    RETURN FOUND;
END
$$;

CREATE FUNCTION slaq.list_queues(p_name text DEFAULT NULL) RETURNS TABLE (
    name text, policy text, dead_letter text, warning_size integer, options jsonb, created_at timestamptz, updated_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT q.name, q.policy, q.dead_letter, q.warning_size, q.options, q.created_at, q.updated_at
    FROM slaq.queues q WHERE (p_name IS NULL OR q.name = p_name) AND slaq.is_reachable(q.name) ORDER BY q.name;
END;

-- How many jobs each queue has; queued includes deferred. oldest_ready is when the first ready job could have started.
CREATE FUNCTION slaq.queue_stats(p_name text DEFAULT NULL) RETURNS TABLE (
    name text, queued bigint, deferred bigint, ready bigint, active bigint, completed bigint, failed bigint, cancelled bigint,
    total bigint, oldest_ready timestamptz, warning_size integer
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT q.name, c.queued, c.deferred, c.queued - c.deferred, c.active, c.completed, c.failed, c.cancelled, c.total,
        (SELECT max(e.at) FROM slaq.procrastinate_events e WHERE e.job_id = c.first_ready), q.warning_size
    FROM slaq.queues q CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE status = 'todo') AS queued,
            count(*) FILTER (WHERE status = 'todo' AND scheduled_at > now()) AS deferred,
            count(*) FILTER (WHERE status = 'doing') AS active,
            count(*) FILTER (WHERE status = 'succeeded') AS completed,
            count(*) FILTER (WHERE status = 'failed') AS failed,
            count(*) FILTER (WHERE status IN ('cancelled', 'aborted')) AS cancelled,
            count(*) AS total,
            min(id) FILTER (WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())) AS first_ready
        FROM slaq.procrastinate_jobs WHERE queue_name = q.name AND task_name = 'slaq:' || q.name
    ) AS c
    WHERE (p_name IS NULL OR q.name = p_name) AND slaq.is_reachable(q.name) ORDER BY q.name;
END;

-- One job in full. Its retry count is that of its last run: 0 in the first.
CREATE VIEW slaq.queue_jobs AS
SELECT j.id, j.queue_name::text AS queue,
    CASE j.status::text
        WHEN 'todo' THEN CASE WHEN j.attempts > 0 THEN 'retry' ELSE 'created' END
        WHEN 'doing' THEN 'active' WHEN 'succeeded' THEN 'completed' WHEN 'failed' THEN 'failed' ELSE 'cancelled'
    END AS state,
    j.args -> 'data' AS data, j.args -> 'meta' ->> 'key' AS key, j.priority, j.attempts,
    CASE WHEN j.status = 'doing' THEN j.attempts ELSE greatest(j.attempts - 1, 0) END AS retry_count,
    coalesce((j.args -> 'meta' ->> 'retry_limit')::integer, 2) AS retry_limit,
    t.created_at, coalesce(j.scheduled_at, t.scheduled_at, t.created_at) AS start_after, t.started_at,
    CASE WHEN j.status NOT IN ('todo', 'doing') THEN t.completed_at END AS completed_at,
    o.output, j.args -> 'meta' AS meta, j.worker_id
FROM slaq.procrastinate_jobs j
LEFT JOIN slaq.job_outcomes o ON o.job_id = j.id
CROSS JOIN LATERAL (
    SELECT min(e.at) FILTER (WHERE e.type = 'deferred') AS created_at, max(e.at) FILTER (WHERE e.type = 'scheduled') AS scheduled_at,
        max(e.at) FILTER (WHERE e.type = 'started') AS started_at,
        max(e.at) FILTER (WHERE e.type IN ('succeeded', 'failed', 'cancelled', 'aborted')) AS completed_at
    FROM slaq.procrastinate_events e WHERE e.job_id = j.id
) AS t
WHERE j.task_name LIKE 'slaq:%';

-- Jobs by {"ids": [...], "key": ..., "data": {...} (contained), "states": [...], "after": id}, in order of id.
CREATE FUNCTION slaq.find_jobs(p_queue text, p_filter jsonb DEFAULT '{}', p_limit integer DEFAULT 1000) RETURNS SETOF slaq.queue_jobs
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT * FROM slaq.queue_jobs
    WHERE (p_queue IS NULL OR queue = p_queue) AND slaq.is_reachable(queue)
        AND (NOT p_filter ? 'ids' OR id = ANY (ARRAY(SELECT jsonb_array_elements_text(p_filter -> 'ids')::bigint)))
        AND (NOT p_filter ? 'key' OR key = p_filter ->> 'key')
        AND (NOT p_filter ? 'data' OR data @> (p_filter -> 'data'))
        AND (NOT p_filter ? 'states' OR p_filter -> 'states' ? state)
        AND (NOT p_filter ? 'after' OR id > (p_filter ->> 'after')::bigint)
    ORDER BY id LIMIT p_limit;
END;

-- Cancel jobs that wait or run. Whoever runs one is told; what it reports later changes nothing. Returns the ids.
CREATE FUNCTION slaq.cancel_jobs(p_queue text, p_ids bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
DECLARE
    active bigint[];
    cancelled bigint[];
BEGIN
    PERFORM slaq.check_reach(p_queue);
    active := ARRAY(
        SELECT id FROM slaq.procrastinate_jobs
        WHERE id = ANY (p_ids) AND queue_name = p_queue AND task_name = 'slaq:' || p_queue AND status = 'doing' ORDER BY id FOR UPDATE
    );
    WITH changed AS (
        UPDATE slaq.procrastinate_jobs
        SET status = CASE status WHEN 'doing' THEN 'aborted' ELSE 'cancelled' END::slaq.procrastinate_job_status, abort_requested = false
        WHERE id = ANY (p_ids) AND queue_name = p_queue AND task_name = 'slaq:' || p_queue AND status IN ('todo', 'doing')
        RETURNING id
    )
    SELECT coalesce(array_agg(id ORDER BY id), '{}') INTO cancelled FROM changed;
    PERFORM slaq.wake_workers(p_queue, id, 'abort_job_requested') FROM unnest(active) AS told (id);
    RETURN cancelled;
END
$$;

-- Let a settled job wait again, under its queue's policy; false when the policy refuses it.
CREATE FUNCTION slaq.reopen_job(p_id bigint, p_status text[], p_retries integer) RETURNS boolean
LANGUAGE plpgsql SET search_path = slaq, pg_temp AS $$
BEGIN
    UPDATE slaq.procrastinate_jobs SET
        status = 'todo', scheduled_at = CASE WHEN scheduled_at > now() THEN scheduled_at END, worker_id = NULL, abort_requested = false,
        args = CASE WHEN p_retries = 0 THEN args ELSE jsonb_set(
            args, '{meta,retry_limit}', to_jsonb(coalesce((args -> 'meta' ->> 'retry_limit')::integer, 2) + p_retries)) END
    WHERE id = p_id AND status::text = ANY (p_status);
    IF FOUND THEN
        DELETE FROM slaq.job_outcomes WHERE job_id = p_id AND p_retries = 0;
        PERFORM slaq.wake_workers(queue_name, id) FROM slaq.procrastinate_jobs WHERE id = p_id;
        RETURN true;
    END IF;
    RETURN false;
EXCEPTION WHEN unique_violation THEN
    RETURN false;
END
$$;

-- Let cancelled jobs wait again; one that was deferred still is. Returns the ids that do.
CREATE FUNCTION slaq.resume_jobs(p_queue text, p_ids bigint[]) RETURNS bigint[]
LANGUAGE sql SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT slaq.check_reach(p_queue);
    SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM (
        SELECT id FROM slaq.procrastinate_jobs WHERE id = ANY (p_ids) AND queue_name = p_queue AND task_name = 'slaq:' || p_queue ORDER BY id OFFSET 0
    ) AS named
    WHERE slaq.reopen_job(id, ARRAY['cancelled', 'aborted'], 0);
END;

-- Give failed jobs one more run, from now. Returns the ids that get it.
CREATE FUNCTION slaq.retry_jobs(p_queue text, p_ids bigint[]) RETURNS bigint[]
LANGUAGE sql SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT slaq.check_reach(p_queue);
    SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM (
        SELECT id FROM slaq.procrastinate_jobs WHERE id = ANY (p_ids) AND queue_name = p_queue AND task_name = 'slaq:' || p_queue ORDER BY id OFFSET 0
    ) AS named
    WHERE slaq.reopen_job(id, ARRAY['failed'], 1);
END;

-- Delete jobs: these ids, or with null all of the queue in these states. Returns how many.
CREATE FUNCTION slaq.delete_jobs(p_queue text, p_ids bigint[], p_states text[] DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
DECLARE
    deleted bigint;
BEGIN
    PERFORM slaq.check_reach(p_queue);
    DELETE FROM slaq.procrastinate_jobs
    WHERE queue_name = p_queue AND task_name = 'slaq:' || p_queue AND (p_ids IS NULL OR id = ANY (p_ids))
        AND (p_states IS NULL OR CASE status::text
            WHEN 'todo' THEN CASE WHEN attempts > 0 THEN 'retry' ELSE 'created' END
            WHEN 'doing' THEN 'active' WHEN 'succeeded' THEN 'completed' WHEN 'failed' THEN 'failed' ELSE 'cancelled'
        END = ANY (p_states));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;

-- Keys of a key_strict_fifo queue that a failed job blocks.
CREATE FUNCTION slaq.blocked_keys(p_queue text) RETURNS SETOF text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
BEGIN
    IF (slaq.queue_named(p_queue)).policy <> 'key_strict_fifo' THEN
        RAISE EXCEPTION 'queue "%" has not the policy key_strict_fifo, so nothing blocks its keys', p_queue USING ERRCODE = 'SQ400';
    END IF;
    RETURN QUERY SELECT DISTINCT args -> 'meta' ->> 'key' FROM slaq.procrastinate_jobs
        WHERE queue_name = p_queue AND task_name = 'slaq:' || p_queue AND status = 'failed' AND lock IS NOT NULL ORDER BY 1;
END
$$;

-- The jobs that a redrive would move: waiting ones of a dead-letter queue, the oldest first.
-- Filter: {"source": queue, "ids": [...], "data": {...} (contained), "created_before": timestamp}.
CREATE FUNCTION slaq.preview_redrive(p_queue text, p_filter jsonb DEFAULT '{}', p_limit integer DEFAULT 1000)
RETURNS TABLE (id bigint, source text, destination text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT slaq.check_reach(p_queue);
    SELECT j.id, j.args -> 'meta' -> 'source' ->> 'queue',
        coalesce(p_filter ->> 'destination', j.args -> 'meta' -> 'source' ->> 'queue')
    FROM slaq.procrastinate_jobs j
    WHERE j.queue_name = p_queue AND j.task_name = 'slaq:' || p_queue AND j.status = 'todo'
        AND coalesce(p_filter ->> 'destination', j.args -> 'meta' -> 'source' ->> 'queue') IS NOT NULL
        AND (NOT p_filter ? 'source' OR j.args -> 'meta' -> 'source' ->> 'queue' = p_filter ->> 'source')
        AND (NOT p_filter ? 'ids' OR j.id = ANY (ARRAY(SELECT jsonb_array_elements_text(p_filter -> 'ids')::bigint)))
        AND (NOT p_filter ? 'data' OR j.args -> 'data' @> (p_filter -> 'data'))
        AND (NOT p_filter ? 'created_before' OR (p_filter ->> 'created_before')::timestamptz >
            (SELECT min(e.at) FROM slaq.procrastinate_events e WHERE e.job_id = j.id AND e.type = 'deferred'))
    ORDER BY j.id LIMIT p_limit;
END;

-- Send dead letters back to where they came from (or to "destination"), as new jobs with that queue's settings. One that
-- its policy refuses fails where it is. Returns how many moved.
CREATE FUNCTION slaq.redrive_jobs(p_queue text, p_filter jsonb DEFAULT '{}', p_limit integer DEFAULT 1000) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
DECLARE
    letter record;
    moved bigint := 0;
    problem text;
BEGIN
    PERFORM slaq.queue_named(p_queue);
    PERFORM slaq.queue_named(p_filter ->> 'destination') WHERE p_filter ? 'destination';
    FOR letter IN
        SELECT j.id, j.priority, j.args, l.destination FROM slaq.preview_redrive(p_queue, p_filter, p_limit) l
        JOIN slaq.procrastinate_jobs j ON j.id = l.id WHERE j.status = 'todo' ORDER BY j.id FOR UPDATE OF j SKIP LOCKED
    LOOP
        problem := 'queue "' || letter.destination || '" does not exist any more';
        IF EXISTS (SELECT FROM slaq.queues WHERE name = letter.destination) THEN
            problem := 'the policy of queue "' || letter.destination || '" refused it';
            IF slaq.send_job(letter.destination, letter.args -> 'data', jsonb_strip_nulls(jsonb_build_object(
                'priority', letter.priority, 'key', letter.args -> 'meta' -> 'key', 'group', letter.args -> 'meta' -> 'group',
                'trace', letter.args -> 'meta' -> 'trace'
            ))) IS NOT NULL THEN
                DELETE FROM slaq.procrastinate_jobs WHERE id = letter.id;
                moved := moved + 1;
                CONTINUE;
            END IF;
        END IF;
        UPDATE slaq.procrastinate_jobs SET status = 'failed', attempts = attempts + 1 WHERE id = letter.id;
        PERFORM slaq.keep_outputs(ARRAY[letter.id], ARRAY[jsonb_build_object('message', 'not redriven: ' || problem)]);
    END LOOP;
    RETURN moved;
END
$$;

CREATE FUNCTION slaq.subscribe_queue(p_event text, p_queue text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
BEGIN
    PERFORM slaq.queue_named(p_queue);
    INSERT INTO slaq.queue_subscriptions (event, queue) VALUES (p_event, p_queue) ON CONFLICT DO NOTHING;
END
$$;

CREATE FUNCTION slaq.unsubscribe_queue(p_event text, p_queue text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
BEGIN
    PERFORM slaq.check_reach(p_queue);
    DELETE FROM slaq.queue_subscriptions WHERE event = p_event AND queue = p_queue;
    RETURN FOUND;
END
$$;

-- Add or replace a schedule. Whoever ticks evaluates its cron line; slaq.fire_schedule sends each tick once.
CREATE FUNCTION slaq.schedule_jobs(
    p_queue text, p_key text, p_cron text, p_zone text, p_missed text, p_data jsonb, p_options jsonb
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
BEGIN
    PERFORM slaq.queue_named(p_queue);
    INSERT INTO slaq.queue_schedules (queue, key, cron, zone, missed, data, options)
    VALUES (p_queue, p_key, p_cron, p_zone, p_missed, p_data, p_options)
    ON CONFLICT (queue, key) DO UPDATE SET cron = excluded.cron, zone = excluded.zone, missed = excluded.missed,
        data = excluded.data, options = excluded.options,
        -- another rhythm starts anew: its past ticks were not missed
        created_at = CASE WHEN (queue_schedules.cron, queue_schedules.zone) = (excluded.cron, excluded.zone)
            THEN queue_schedules.created_at ELSE excluded.created_at END;
END
$$;

CREATE FUNCTION slaq.unschedule_jobs(p_queue text, p_key text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
BEGIN
    PERFORM slaq.check_reach(p_queue);
    DELETE FROM slaq.queue_schedules WHERE queue = p_queue AND key = p_key;
    RETURN FOUND;
END
$$;

CREATE FUNCTION slaq.list_schedules(p_queue text DEFAULT NULL) RETURNS SETOF slaq.queue_schedules
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT * FROM slaq.queue_schedules WHERE (p_queue IS NULL OR queue = p_queue) AND slaq.is_reachable(queue) ORDER BY queue, key;
END;

-- Send the job of one tick unless this tick, or a later one, was sent already. Returns its id.
CREATE FUNCTION slaq.fire_schedule(p_queue text, p_key text, p_tick timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
DECLARE
    fired slaq.queue_schedules;
BEGIN
    PERFORM slaq.check_reach(p_queue);
    UPDATE slaq.queue_schedules SET last_tick = p_tick
    WHERE queue = p_queue AND key = p_key AND (last_tick IS NULL OR last_tick < p_tick) RETURNING * INTO fired;
    IF fired.queue IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN slaq.send_job(p_queue, fired.data, fired.options);
END
$$;
