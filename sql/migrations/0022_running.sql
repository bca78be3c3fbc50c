-- Fetching and settling jobs.

-- Let deferred jobs that are due join those that are ready, a thousand at a time.
CREATE FUNCTION slaq.promote_due_jobs(p_queue text) RETURNS void
LANGUAGE plpgsql SET search_path = slaq, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    moment timestamptz := clock_timestamp();
BEGIN
    IF EXISTS (
        SELECT FROM slaq.procrastinate_jobs
        WHERE queue_name = p_queue AND task_name = 'slaq:' || p_queue AND status = 'todo' AND scheduled_at IS NOT NULL AND scheduled_at <= moment
    ) THEN
        UPDATE slaq.procrastinate_jobs SET scheduled_at = NULL
        WHERE id = ANY (ARRAY(
            SELECT id FROM slaq.procrastinate_jobs
            WHERE queue_name = p_queue AND task_name = 'slaq:' || p_queue AND status = 'todo' AND scheduled_at IS NOT NULL AND scheduled_at <= moment
            ORDER BY scheduled_at LIMIT 1000 FOR UPDATE SKIP LOCKED
        ));
    END IF;
END
$$;

-- Jobs whose key is free, and whose group has room under p_groups {"default": n, "tiers": {tier: n}}.
-- Exact only under the queue's advisory lock, which the caller holds.
CREATE FUNCTION slaq.runnable_jobs(
    q slaq.queues, p_limit integer, p_groups jsonb, p_min_priority integer, p_max_priority integer, p_early boolean
) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = slaq, pg_temp SET enable_seqscan = off SET enable_sort = off AS $$
DECLARE
    chosen bigint[] := '{}';
    taken_locks text[] := '{}';
    active jsonb := '{}';
    job record;
BEGIN
    IF p_groups IS NOT NULL THEN
        SELECT coalesce(jsonb_object_agg(name, size), '{}') INTO active FROM (
            SELECT args -> 'meta' -> 'group' ->> 'id' AS name, count(*) AS size FROM slaq.procrastinate_jobs
            WHERE status = 'doing' AND queue_name = q.name AND task_name = 'slaq:' || q.name AND args -> 'meta' ? 'group' GROUP BY 1
        ) AS groups;
    END IF;
    FOR job IN
        SELECT j.id, j.lock, j.args -> 'meta' -> 'group' ->> 'id' AS grp, j.args -> 'meta' -> 'group' ->> 'tier' AS tier
        FROM (
            SELECT * FROM slaq.procrastinate_jobs r
            WHERE r.queue_name = q.name AND r.task_name = 'slaq:' || q.name AND r.status = 'todo' AND r.scheduled_at IS NULL
            UNION ALL
            SELECT * FROM slaq.procrastinate_jobs d
            WHERE p_early AND d.queue_name = q.name AND d.task_name = 'slaq:' || q.name AND d.status = 'todo' AND d.scheduled_at IS NOT NULL
        ) AS j
        WHERE j.priority BETWEEN p_min_priority AND p_max_priority
            AND (j.lock IS NULL OR NOT EXISTS (
                SELECT FROM slaq.procrastinate_jobs b WHERE b.lock = j.lock AND b.status = 'doing'
            ))
            AND (q.policy <> 'key_strict_fifo' OR j.lock IS NULL OR NOT EXISTS (
                SELECT FROM slaq.procrastinate_jobs b
                WHERE b.lock = j.lock AND b.id <> j.id AND b.status IN ('todo', 'failed') AND (
                    b.status = 'failed'
                    OR (b.attempts > 0 AND (j.attempts = 0 OR b.id < j.id))
                    OR (b.attempts = 0 AND j.attempts = 0 AND b.id < j.id AND b.scheduled_at IS NULL)
                )
            ))
        ORDER BY j.priority DESC, j.id
    LOOP
        CONTINUE WHEN job.lock = ANY (taken_locks);
        IF p_groups IS NOT NULL AND job.grp IS NOT NULL THEN
            CONTINUE WHEN coalesce((active ->> job.grp)::integer, 0)
                >= coalesce((p_groups -> 'tiers' ->> job.tier)::integer, (p_groups ->> 'default')::integer);
            active := active || jsonb_build_object(job.grp, coalesce((active ->> job.grp)::integer, 0) + 1);
        END IF;
        chosen := chosen || job.id;
        taken_locks := taken_locks || job.lock;
        EXIT WHEN cardinality(chosen) >= p_limit;
    END LOOP;
    RETURN chosen;
END
$$;

-- Claim up to p_limit jobs, the most urgent first. p_worker is a row of procrastinate_workers; 0 is a fetch by hand,
-- whose jobs only expiry (and the heartbeat, if they have one) takes back. A worker may claim p_ahead more, which it will
-- begin later; never any that hold a key or a place in a group.
CREATE FUNCTION slaq.fetch_jobs(
    p_queue text, p_limit integer DEFAULT 1, p_worker bigint DEFAULT 0, p_groups jsonb DEFAULT NULL,
    p_min_priority integer DEFAULT NULL, p_max_priority integer DEFAULT NULL, p_early boolean DEFAULT false,
    p_ahead integer DEFAULT 0
) RETURNS TABLE (id bigint, queue_name text, priority integer, args jsonb, attempts integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
-- For a queue that was empty when statistics were taken, all its rows would be read, finished ones too, and sorted.
SET enable_sort = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    q slaq.queues;
    chosen bigint[];
    least integer := coalesce(p_min_priority, -2147483648);
    most integer := coalesce(p_max_priority, 2147483647);
BEGIN
    SELECT * INTO q FROM slaq.queues WHERE name = p_queue;
    IF q.name IS NULL OR p_queue LIKE 'sla-%' THEN
        q := slaq.queue_named(p_queue);
    END IF;
    PERFORM slaq.promote_due_jobs(p_queue);
    IF q.policy IN ('singleton', 'stately', 'key_strict_fifo') OR p_groups IS NOT NULL THEN
        IF p_limit < 1 THEN
            RETURN;
        END IF;
        PERFORM pg_advisory_xact_lock(hashtextextended('slaq fetch ' || p_queue, 0));
        chosen := slaq.runnable_jobs(q, p_limit, p_groups, least, most, p_early);
    ELSIF p_early THEN
        chosen := ARRAY(
            SELECT j.id FROM slaq.procrastinate_jobs j
            WHERE j.queue_name = p_queue AND j.task_name = 'slaq:' || p_queue AND j.status = 'todo' AND j.priority BETWEEN least AND most
            ORDER BY j.priority DESC, j.id LIMIT p_limit + p_ahead FOR UPDATE SKIP LOCKED
        );
    ELSE
        chosen := ARRAY(
            SELECT j.id FROM slaq.procrastinate_jobs j
            WHERE j.queue_name = p_queue AND j.task_name = 'slaq:' || p_queue AND j.status = 'todo' AND j.scheduled_at IS NULL
                AND j.priority BETWEEN least AND most
            ORDER BY j.priority DESC, j.id LIMIT p_limit + p_ahead FOR UPDATE SKIP LOCKED
        );
    END IF;
    IF cardinality(chosen) = 0 THEN
        RETURN;
    END IF;
    IF cardinality(chosen) > p_limit THEN
        PERFORM slaq.note_ahead(p_worker, chosen[p_limit + 1:]);
    END IF;
    RETURN QUERY
    WITH claimed AS (
        UPDATE slaq.procrastinate_jobs j SET status = 'doing', worker_id = p_worker
        WHERE j.id = ANY (chosen) AND j.status = 'todo'
        RETURNING j.id, j.queue_name, j.priority, j.args, j.attempts
    )
    SELECT c.id, c.queue_name::text, c.priority, c.args, c.attempts FROM claimed c
    ORDER BY c.priority DESC, c.id;
END
$$;

-- Which jobs a worker has claimed but not begun. Told with each settling, before the next ones begin: a job that takes
-- its worker down has always left this list.
CREATE FUNCTION slaq.note_ahead(p_worker bigint, p_ids bigint[]) RETURNS void
LANGUAGE sql SET search_path = slaq, pg_temp
BEGIN ATOMIC
    INSERT INTO slaq.jobs_ahead (worker_id, ids) VALUES (p_worker, p_ids)
    ON CONFLICT (worker_id) DO UPDATE SET ids = excluded.ids;
END;

-- Give back claimed jobs that were never started: they wait again, and it costs them no retry.
CREATE FUNCTION slaq.unfetch_jobs(p_worker bigint, p_ids bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
DECLARE
    returned bigint[];
BEGIN
    WITH given_back AS (
        UPDATE slaq.procrastinate_jobs SET status = 'todo', worker_id = NULL
        WHERE id = ANY (p_ids) AND status = 'doing' AND worker_id = p_worker AND slaq.is_reachable(queue_name)
        RETURNING id
    )
    SELECT coalesce(array_agg(id), '{}') INTO returned FROM given_back;
    DELETE FROM slaq.jobs_ahead WHERE worker_id = p_worker;
    PERFORM slaq.wake_workers(queue_name, min(id)) FROM slaq.procrastinate_jobs WHERE id = ANY (returned) GROUP BY queue_name;
    RETURN returned;
END
$$;

CREATE FUNCTION slaq.keep_outputs(p_ids bigint[], p_outputs jsonb[]) RETURNS void
LANGUAGE sql SET search_path = slaq, pg_temp
BEGIN ATOMIC
    INSERT INTO slaq.job_outcomes (job_id, output)
    SELECT id, output FROM unnest(p_ids, p_outputs) AS given (id, output) WHERE output IS NOT NULL
    ON CONFLICT (job_id) DO UPDATE SET output = excluded.output, settled_at = excluded.settled_at;
END;

-- Complete active jobs; returns the ids that were. With p_attempts only those still in that attempt; p_outputs matches
-- p_ids. p_queued also completes jobs that wait.
CREATE FUNCTION slaq.complete_jobs(
    p_queue text, p_ids bigint[], p_attempts integer[] DEFAULT NULL, p_outputs jsonb[] DEFAULT NULL, p_queued boolean DEFAULT false
) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp SET enable_seqscan = off AS $$
DECLARE
    done bigint[];
BEGIN
    IF p_queue LIKE 'sla-%' THEN
        PERFORM slaq.check_reach(p_queue);
    END IF;
    -- The ids lead to the rows: the empty string keeps the planner from the index on queues.
    WITH settled AS (
        UPDATE slaq.procrastinate_jobs j SET status = 'succeeded', attempts = j.attempts + 1, abort_requested = false
        WHERE j.id = ANY (p_ids) AND j.queue_name || '' = p_queue AND j.task_name = 'slaq:' || p_queue AND (j.status = 'doing' OR (p_queued AND j.status = 'todo'))
            AND (p_attempts IS NULL OR j.attempts = p_attempts[array_position(p_ids, j.id)])
        RETURNING j.id
    )
    SELECT coalesce(array_agg(id), '{}') INTO done FROM settled;
    IF p_outputs IS NOT NULL THEN
        PERFORM slaq.keep_outputs(array_agg(id), array_agg(output))
        FROM unnest(p_ids, p_outputs) AS given (id, output) WHERE id = ANY (done) HAVING count(*) > 0;
    END IF;
    RETURN done;
END
$$;

-- Seconds until the retry after a run that was number n (from 0).
CREATE FUNCTION slaq.retry_delay(p_meta jsonb, p_attempt integer) RETURNS double precision
LANGUAGE sql VOLATILE
RETURN CASE
    WHEN NOT coalesce((p_meta ->> 'retry_backoff')::boolean, false) THEN coalesce((p_meta ->> 'retry_delay')::double precision, 0)
    ELSE least(
        (p_meta ->> 'retry_delay_max')::double precision,
        greatest(coalesce((p_meta ->> 'retry_delay')::double precision, 0), 1)
            * 2 ^ least(16, p_attempt + 1) / 2 * (1 + random())
    )
END;

-- Copies of failed jobs in their dead-letter queues, which give them retries and expiry of their own and no policy.
CREATE FUNCTION slaq.copy_to_dead_letters(p_ids bigint[]) RETURNS void
LANGUAGE sql SET search_path = slaq, pg_temp
BEGIN ATOMIC
    INSERT INTO slaq.procrastinate_jobs (queue_name, task_name, priority, args)
    SELECT q.name, 'slaq:' || q.name, j.priority, jsonb_build_object('data', j.args -> 'data', 'meta',
        q.options || jsonb_strip_nulls(jsonb_build_object(
            'key', j.args -> 'meta' -> 'key', 'group', j.args -> 'meta' -> 'group', 'trace', j.args -> 'meta' -> 'trace',
            'source', jsonb_build_object(
                'queue', j.queue_name, 'id', j.id, 'retry_count', greatest(j.attempts - 1, 0), 'output', o.output,
                'created_at', (SELECT min(e.at) FROM slaq.procrastinate_events e WHERE e.job_id = j.id AND e.type = 'deferred'),
                'root_id', coalesce((j.args -> 'meta' -> 'source' ->> 'root_id')::bigint, j.id)
            )
        )))
    FROM slaq.procrastinate_jobs j
    JOIN slaq.queues q ON q.name = j.args -> 'meta' ->> 'dead_letter' AND q.name NOT LIKE 'sla-%'
    LEFT JOIN slaq.job_outcomes o ON o.job_id = j.id
    WHERE j.id = ANY (p_ids)
    ORDER BY j.id;
END;

-- Fail jobs that wait or run: back to waiting while retries remain, else failed for good with a copy in the dead-letter
-- queue, all in one statement's transaction. Arrays match p_ids; p_final skips remaining retries, p_retry_in (seconds)
-- replaces the delay. Returns {"retried": [...], "failed": [...]}.
CREATE FUNCTION slaq.fail_jobs(
    p_queue text, p_ids bigint[], p_attempts integer[] DEFAULT NULL, p_outputs jsonb[] DEFAULT NULL,
    p_final boolean[] DEFAULT NULL, p_retry_in double precision[] DEFAULT NULL
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp SET enable_seqscan = off AS $$
DECLARE
    retried bigint[];
    failed bigint[];
BEGIN
    IF p_queue LIKE 'sla-%' THEN
        PERFORM slaq.check_reach(p_queue);
    END IF;
    WITH given AS (
        SELECT * FROM unnest(p_ids, p_attempts, p_final, p_retry_in) AS given (id, attempt, is_final, retry_in)
    ), held AS MATERIALIZED (
        SELECT j.id, j.attempts, j.args -> 'meta' AS meta, j.lock, j.queueing_lock, given.is_final, given.retry_in
        FROM slaq.procrastinate_jobs j JOIN given ON given.id = j.id
        WHERE j.id = ANY (p_ids) AND j.queue_name || '' = p_queue AND j.task_name = 'slaq:' || p_queue AND j.status IN ('todo', 'doing') AND (given.attempt IS NULL OR j.attempts = given.attempt)
        ORDER BY j.id FOR UPDATE OF j
    ), decided AS (
        SELECT id, renamed, coalesce(retry_in, slaq.retry_delay(meta, attempts)) AS wait,
            coalesce(is_final, false) OR attempts >= coalesce((meta ->> 'retry_limit')::integer, 2)
            -- stately: one job per key may wait for its retry
            OR (renamed LIKE 'retry:%' AND EXISTS (
                SELECT FROM slaq.procrastinate_jobs b WHERE b.queueing_lock = renamed AND b.status = 'todo' AND b.id <> held.id
            )) AS is_over
        FROM held, LATERAL (SELECT CASE
            WHEN queueing_lock NOT LIKE 'created:%' THEN queueing_lock
            WHEN lock IS NOT NULL THEN 'retry:' || substr(queueing_lock, 9)
        END AS renamed) AS named
    ), settled AS (
        UPDATE slaq.procrastinate_jobs j SET
            status = CASE WHEN is_over THEN 'failed' ELSE 'todo' END::slaq.procrastinate_job_status,
            attempts = j.attempts + 1,
            scheduled_at = CASE WHEN is_over OR wait <= 0 THEN NULL ELSE clock_timestamp() + wait * interval '1 second' END,
            queueing_lock = renamed, abort_requested = false, worker_id = NULL
        FROM decided WHERE j.id = decided.id
        RETURNING j.id, is_over, j.scheduled_at
    )
    SELECT coalesce(array_agg(id) FILTER (WHERE NOT is_over), '{}'), coalesce(array_agg(id) FILTER (WHERE is_over), '{}')
    INTO retried, failed FROM settled;
    IF p_outputs IS NOT NULL THEN
        PERFORM slaq.keep_outputs(array_agg(id), array_agg(output))
        FROM unnest(p_ids, p_outputs) AS given (id, output) WHERE id = ANY (retried || failed) HAVING count(*) > 0;
    END IF;
    PERFORM slaq.copy_to_dead_letters(failed) WHERE cardinality(failed) > 0;
    PERFORM slaq.wake_workers(p_queue, min(id)) FROM slaq.procrastinate_jobs
    WHERE id = ANY (retried) AND scheduled_at IS NULL HAVING count(*) > 0;
    RETURN jsonb_build_object('retried', to_jsonb(retried), 'failed', to_jsonb(failed));
END
$$;

-- A sign of life of jobs fetched by hand; returns the ids that are still active (in that attempt).
CREATE FUNCTION slaq.touch_jobs(p_queue text, p_ids bigint[], p_attempts integer[] DEFAULT NULL) RETURNS bigint[]
LANGUAGE sql SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT slaq.check_reach(p_queue);
    WITH touched AS (
        INSERT INTO slaq.job_heartbeats (job_id, touched_at)
        SELECT j.id, clock_timestamp() FROM unnest(p_ids, p_attempts) AS given (id, attempt)
        JOIN slaq.procrastinate_jobs j ON j.id = given.id
        WHERE j.queue_name = p_queue AND j.task_name = 'slaq:' || p_queue AND j.status = 'doing' AND (given.attempt IS NULL OR j.attempts = given.attempt)
        ON CONFLICT (job_id) DO UPDATE SET touched_at = excluded.touched_at
        RETURNING job_id
    )
    SELECT coalesce(array_agg(job_id), '{}') FROM touched;
END;

-- What no worker will settle any more: jobs of dead workers, expired ones, those whose heartbeat stopped. Each fails by
-- its own rules; what a dead worker had not begun waits again. A live worker ends its expired jobs itself, and is given half
-- a minute for it. Returns {"stalled": n, "expired": n}.
CREATE FUNCTION slaq.sweep_jobs(p_stale interval DEFAULT '30 seconds') RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
DECLARE
    lost record;
    counts jsonb := '{"stalled": 0, "expired": 0}';
BEGIN
    FOR lost IN
        SELECT queue_name::text AS queue, kind, array_agg(id) AS ids, array_agg(attempts) AS attempts FROM (
            SELECT j.id, j.queue_name, j.attempts, CASE
                WHEN (w.id IS NULL OR w.last_heartbeat < clock_timestamp() - p_stale) AND EXISTS (
                    SELECT FROM slaq.jobs_ahead a WHERE j.id = ANY (a.ids) AND (a.worker_id = j.worker_id OR j.worker_id IS NULL)
                ) THEN 'unbegun'
                WHEN run.started_at + make_interval(secs => coalesce((j.args -> 'meta' ->> 'expire_in')::double precision, 900))
                    + CASE WHEN w.id > 0 AND w.last_heartbeat >= clock_timestamp() - p_stale THEN interval '30 s' ELSE interval '0' END
                    < clock_timestamp() THEN 'expired'
                WHEN w.id IS NULL OR w.last_heartbeat < clock_timestamp() - p_stale THEN 'stalled'
                WHEN j.worker_id = 0 AND greatest(run.started_at, h.touched_at)
                    + make_interval(secs => (j.args -> 'meta' ->> 'heartbeat')::double precision) < clock_timestamp() THEN 'stalled'
            END AS kind
            FROM slaq.procrastinate_jobs j
            LEFT JOIN slaq.procrastinate_workers w ON w.id = j.worker_id
            LEFT JOIN slaq.job_heartbeats h ON h.job_id = j.id
            CROSS JOIN LATERAL (
                SELECT max(e.at) AS started_at FROM slaq.procrastinate_events e WHERE e.job_id = j.id AND e.type = 'started'
            ) AS run
            WHERE j.status = 'doing' AND j.task_name LIKE 'slaq:%' AND slaq.is_reachable(j.queue_name)
        ) AS active
        WHERE kind IS NOT NULL GROUP BY queue_name, kind
    LOOP
        IF lost.kind = 'unbegun' THEN
            UPDATE slaq.procrastinate_jobs j SET status = 'todo', worker_id = NULL
            FROM unnest(lost.ids, lost.attempts) AS given (id, attempt)
            WHERE j.id = given.id AND j.attempts = given.attempt AND j.status = 'doing';
            PERFORM slaq.wake_workers(lost.queue, lost.ids[1]);
            CONTINUE;
        END IF;
        PERFORM slaq.fail_jobs(lost.queue, lost.ids, lost.attempts, array_fill(jsonb_build_object('message',
            CASE lost.kind WHEN 'expired' THEN 'job timed out' ELSE 'job heartbeat timeout' END), ARRAY[cardinality(lost.ids)]));
        counts := counts || jsonb_build_object(lost.kind, (counts ->> lost.kind)::integer + cardinality(lost.ids));
    END LOOP;
    DELETE FROM slaq.jobs_ahead a WHERE NOT EXISTS (
        SELECT FROM slaq.procrastinate_workers w WHERE w.id = a.worker_id AND w.last_heartbeat >= clock_timestamp() - p_stale
    );
    RETURN counts;
END
$$;

-- Delete what was kept long enough: settled jobs delete_after (7 days; 0: never) after they ended, waiting ones retention
-- (14 days) after they could have started. Returns {"deleted": n, "retained": n}, or null when somebody has done so less
-- than p_every ago.
CREATE FUNCTION slaq.delete_old_queue_jobs(p_every interval DEFAULT '0') RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
DECLARE
    settled integer;
    waiting integer;
BEGIN
    UPDATE slaq.queue_upkeep SET deleted_at = clock_timestamp()
    WHERE ctid = (SELECT ctid FROM slaq.queue_upkeep WHERE deleted_at <= clock_timestamp() - p_every FOR UPDATE SKIP LOCKED);
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    DELETE FROM slaq.procrastinate_jobs j
    WHERE j.task_name LIKE 'slaq:%' AND j.status IN ('succeeded', 'failed', 'cancelled', 'aborted')
        AND coalesce((j.args -> 'meta' ->> 'delete_after')::double precision, 604800) > 0
        AND (SELECT max(e.at) FROM slaq.procrastinate_events e WHERE e.job_id = j.id AND e.type <> 'scheduled')
            < clock_timestamp() - make_interval(secs => coalesce((j.args -> 'meta' ->> 'delete_after')::double precision, 604800));
    GET DIAGNOSTICS settled = ROW_COUNT;
    DELETE FROM slaq.procrastinate_jobs j
    WHERE j.task_name LIKE 'slaq:%' AND j.status = 'todo'
        AND (SELECT max(e.at) FROM slaq.procrastinate_events e WHERE e.job_id = j.id)
            < clock_timestamp() - make_interval(secs => coalesce((j.args -> 'meta' ->> 'retention')::double precision, 1209600));
    GET DIAGNOSTICS waiting = ROW_COUNT;
    RETURN jsonb_build_object('deleted', settled, 'retained', waiting);
END
$$;
