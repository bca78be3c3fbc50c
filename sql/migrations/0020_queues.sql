-- Queues with policies, retries, dead letters and schedules over Procrastinate's tables. A job of such a queue is an
-- ordinary Procrastinate row: its task is 'slaq:<queue>', its args are {"data": ..., "meta": {options}}.
--   lock           '<policy>:<queue>:<key>' where a policy allows one active job per key
--   queueing_lock  'created:', 'retry:' or 'exclusive:<queue>:<key>' where a policy limits how many may wait
--   attempts       runs that have ended; it fences: who settles attempt n changes nothing once n is over
CREATE TABLE slaq.queues (
    name text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9_./-]+$' AND octet_length(name) <= 40),
    policy text NOT NULL DEFAULT 'standard'
        CHECK (policy IN ('standard', 'short', 'singleton', 'stately', 'exclusive', 'key_strict_fifo')),
    dead_letter text REFERENCES slaq.queues CHECK (dead_letter <> name),
    warning_size integer NOT NULL DEFAULT 10000 CHECK (warning_size > 0),
    -- What jobs get unless their sender says otherwise, in seconds; a setting that is absent is the library's own.
    options jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX queues_dead_letter ON slaq.queues (dead_letter);

CREATE TABLE slaq.queue_schedules (
    queue text NOT NULL REFERENCES slaq.queues ON DELETE CASCADE,
    key text NOT NULL DEFAULT '',
    cron text NOT NULL,
    zone text NOT NULL DEFAULT 'UTC',
    missed text NOT NULL DEFAULT 'skip' CHECK (missed IN ('skip', 'once')),
    data jsonb,
    options jsonb NOT NULL DEFAULT '{}',
    last_tick timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (queue, key)
);

CREATE TABLE slaq.queue_subscriptions (
    event text NOT NULL,
    queue text NOT NULL REFERENCES slaq.queues ON DELETE CASCADE,
    PRIMARY KEY (event, queue)
);
CREATE INDEX queue_subscriptions_queue ON slaq.queue_subscriptions (queue);

-- One job per queue, key and slot of time; freed when the job is cancelled or deleted.
CREATE TABLE slaq.job_slots (
    queue text NOT NULL,
    key text NOT NULL,
    slot bigint NOT NULL,
    job_id bigint NOT NULL REFERENCES slaq.procrastinate_jobs ON DELETE CASCADE,
    PRIMARY KEY (queue, key, slot)
);
CREATE INDEX job_slots_job ON slaq.job_slots (job_id);

-- What a job's last run returned or failed with.
CREATE TABLE slaq.job_outcomes (
    job_id bigint PRIMARY KEY REFERENCES slaq.procrastinate_jobs ON DELETE CASCADE,
    output jsonb,
    settled_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Signs of life of jobs that were fetched by hand.
CREATE TABLE slaq.job_heartbeats (
    job_id bigint PRIMARY KEY REFERENCES slaq.procrastinate_jobs ON DELETE CASCADE,
    touched_at timestamptz NOT NULL
);

-- What a worker has claimed but not begun: such jobs of a worker that died cost no retry.
CREATE TABLE slaq.jobs_ahead (
    worker_id bigint PRIMARY KEY,
    ids bigint[] NOT NULL
);

-- When old jobs were deleted last; one row.
CREATE TABLE slaq.queue_upkeep (deleted_at timestamptz NOT NULL);
INSERT INTO slaq.queue_upkeep VALUES ('-infinity');

-- The worker of jobs fetched by hand: it never goes stale, so only expiry and heartbeat take such jobs back.
INSERT INTO slaq.procrastinate_workers (id, last_heartbeat) OVERRIDING SYSTEM VALUE VALUES (0, '9999-12-31Z');

-- Ready jobs in the order of fetching, apart from deferred ones: neither lengthens the search for the other.
CREATE INDEX queue_jobs_ready ON slaq.procrastinate_jobs (queue_name, priority DESC, id)
    WHERE status = 'todo' AND scheduled_at IS NULL;
CREATE INDEX queue_jobs_deferred ON slaq.procrastinate_jobs (queue_name, scheduled_at)
    WHERE status = 'todo' AND scheduled_at IS NOT NULL;
CREATE UNIQUE INDEX queue_jobs_exclusive ON slaq.procrastinate_jobs (queueing_lock)
    WHERE status IN ('todo', 'doing') AND queueing_lock LIKE 'exclusive:%';
CREATE INDEX queue_jobs_keyed ON slaq.procrastinate_jobs (lock, status, id)
    WHERE lock IS NOT NULL AND status IN ('todo', 'doing', 'failed');

-- Procrastinate's own fetch, and the indexes that are for it alone, are left to plain tasks: a worker of theirs that asks for
-- any queue must not take jobs that it does not know (engine.sql adds the same condition to its function), and each index
-- that a job is not in is one less to write three times. Nor need locks be indexed that are none.
DROP INDEX slaq.procrastinate_jobs_priority_idx_v1, slaq.procrastinate_jobs_id_lock_idx_v1,
    slaq.procrastinate_jobs_lock_idx_v1, slaq.procrastinate_jobs_queueing_lock_idx_v1;
CREATE INDEX procrastinate_jobs_priority_idx_v1 ON slaq.procrastinate_jobs (priority DESC, id)
    WHERE status = 'todo' AND task_name NOT LIKE 'slaq:%';
CREATE INDEX procrastinate_jobs_id_lock_idx_v1 ON slaq.procrastinate_jobs (id, lock)
    WHERE status IN ('todo', 'doing') AND task_name NOT LIKE 'slaq:%';
CREATE UNIQUE INDEX procrastinate_jobs_lock_idx_v1 ON slaq.procrastinate_jobs (lock)
    WHERE status = 'doing' AND lock IS NOT NULL;
CREATE UNIQUE INDEX procrastinate_jobs_queueing_lock_idx_v1 ON slaq.procrastinate_jobs (queueing_lock)
    WHERE status = 'todo' AND queueing_lock IS NOT NULL;

-- Whether this session may reach a queue: slaq's own, named sla-..., are for workers only.
CREATE FUNCTION slaq.is_reachable(p_queue text) RETURNS boolean
LANGUAGE sql STABLE
RETURN coalesce(p_queue, '') NOT LIKE 'sla-%' OR pg_has_role(session_user, 'slaq_worker', 'USAGE');

CREATE FUNCTION slaq.check_reach(p_queue text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = slaq, pg_temp AS $$
BEGIN
    IF NOT slaq.is_reachable(p_queue) THEN
        RAISE EXCEPTION 'queue "%" is slaq''s own: only the login of a worker reaches it', p_queue USING ERRCODE = 'SQ400';
    END IF;
END
$$;

-- The same events and notifications as Procrastinate's own triggers, once a statement instead of once a row, under the
-- same names: a batch costs one insert and one notification per queue, and a deferred job wakes nobody. A session keeps the
-- plans of its first, small statements: with enable_nestloop a batch would be compared with itself row by row.
CREATE FUNCTION slaq.note_inserted_jobs() RETURNS trigger
LANGUAGE plpgsql SET search_path = slaq, pg_temp SET enable_seqscan = off AS $$
BEGIN
    INSERT INTO slaq.procrastinate_events (job_id, type) SELECT id, 'deferred' FROM inserted WHERE status = 'todo';
    PERFORM slaq.wake_workers(queue_name, min(id)) FROM inserted
    WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now()) GROUP BY queue_name;
    PERFORM pg_notify('procrastinate_any_queue_v1', json_build_object('type', 'job_inserted', 'job_id', min(id))::text)
    FROM inserted WHERE status = 'todo' AND task_name NOT LIKE 'slaq:%' HAVING count(*) > 0;
    RETURN NULL;
END
$$;

CREATE FUNCTION slaq.wake_workers(p_queue text, p_job bigint, p_type text DEFAULT 'job_inserted') RETURNS void
LANGUAGE sql
RETURN pg_notify('procrastinate_queue_v1#' || p_queue, json_build_object('type', p_type, 'job_id', p_job)::text);

CREATE FUNCTION slaq.note_changed_jobs() RETURNS trigger
LANGUAGE plpgsql SET search_path = slaq, pg_temp SET enable_seqscan = off SET enable_nestloop = off AS $$
BEGIN
    INSERT INTO slaq.procrastinate_events (job_id, type)
    SELECT id, type::slaq.procrastinate_job_event_type
    FROM (
        SELECT n.id, CASE
            WHEN o.status = 'todo' AND n.status = 'doing' THEN 'started'
            WHEN o.status = 'doing' AND n.status = 'todo' THEN 'deferred_for_retry'
            WHEN o.status = 'doing' AND n.status = 'failed' THEN 'failed'
            WHEN o.status = 'doing' AND n.status = 'succeeded' THEN 'succeeded'
            WHEN o.status = 'todo' AND n.status IN ('cancelled', 'failed', 'succeeded') THEN 'cancelled'
            WHEN o.status = 'doing' AND n.status = 'aborted' THEN 'aborted'
            WHEN o.status = 'failed' AND n.status = 'todo' THEN 'retried'
        END AS type
        FROM new_jobs n JOIN old_jobs o ON o.id = n.id
        WHERE n.status <> o.status
    ) AS changes
    WHERE type IS NOT NULL;
    -- others may have waited for its key or its group
    PERFORM slaq.wake_workers(queue_name, min(id)) FROM old_jobs
    WHERE status = 'doing' AND task_name LIKE 'slaq:%' AND (lock IS NOT NULL OR args -> 'meta' ? 'group') GROUP BY queue_name;
    IF EXISTS (SELECT FROM new_jobs WHERE status IN ('cancelled', 'aborted')) THEN
        DELETE FROM slaq.job_slots s USING new_jobs n WHERE s.job_id = n.id AND n.status IN ('cancelled', 'aborted');
    END IF;
    RETURN NULL;
END
$$;

DROP TRIGGER procrastinate_jobs_notify_queue_job_inserted_v1 ON slaq.procrastinate_jobs;
DROP TRIGGER procrastinate_trigger_status_events_insert_v1 ON slaq.procrastinate_jobs;
DROP TRIGGER procrastinate_trigger_status_events_update_v1 ON slaq.procrastinate_jobs;
CREATE TRIGGER procrastinate_trigger_status_events_insert_v1
    AFTER INSERT ON slaq.procrastinate_jobs REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION slaq.note_inserted_jobs();
CREATE TRIGGER procrastinate_trigger_status_events_update_v1
    AFTER UPDATE ON slaq.procrastinate_jobs REFERENCING OLD TABLE AS old_jobs NEW TABLE AS new_jobs
    FOR EACH STATEMENT EXECUTE FUNCTION slaq.note_changed_jobs();

-- Events are written by the triggers of their own job, so that their foreign key never refuses one; it costs a look-up and a
-- row lock for each. Deleted jobs still take their events along, all of a statement at once.
ALTER TABLE slaq.procrastinate_events DROP CONSTRAINT procrastinate_events_job_id_fkey;
CREATE FUNCTION slaq.forget_deleted_jobs() RETURNS trigger
LANGUAGE plpgsql SET search_path = slaq, pg_temp SET enable_seqscan = off AS $$
BEGIN
    DELETE FROM slaq.procrastinate_events e USING deleted WHERE e.job_id = deleted.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER forget_deleted_jobs AFTER DELETE ON slaq.procrastinate_jobs REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION slaq.forget_deleted_jobs();
