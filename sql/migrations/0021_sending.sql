-- Creating jobs. Options (all optional, durations in seconds): priority, start_after (timestamp, or seconds from now), key, retry_limit,
-- retry_delay, retry_backoff, retry_delay_max, expire_in, heartbeat, retention, delete_after, dead_letter,
-- group {"id", "tier"}, trace, throttle (length of a slot), next_slot (use the following slot when this one is taken).

-- The queue, or an error that names queues like it (SQLSTATE SQ404), or says that it is out of reach (SQ400).
CREATE FUNCTION slaq.queue_named(p_queue text) RETURNS slaq.queues
LANGUAGE plpgsql STABLE SET search_path = slaq, pg_temp AS $$
DECLARE
    found slaq.queues;
BEGIN
    PERFORM slaq.check_reach(p_queue);
    SELECT * INTO found FROM slaq.queues WHERE name = p_queue;
    IF found.name IS NULL THEN
        RAISE EXCEPTION 'queue "%" does not exist', p_queue USING ERRCODE = 'SQ404',
            DETAIL = coalesce((SELECT jsonb_agg(name ORDER BY name) FROM slaq.queues WHERE slaq.is_reachable(name)), '[]')::text;
    END IF;
    RETURN found;
END
$$;

CREATE FUNCTION slaq.lock_for(p_policy text, p_queue text, p_key text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN p_policy IN ('singleton', 'stately', 'key_strict_fifo')
    THEN p_policy || ':' || p_queue || ':' || coalesce(p_key, '') END;

CREATE FUNCTION slaq.queueing_lock_for(p_policy text, p_queue text, p_key text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE
    WHEN p_policy IN ('short', 'stately') THEN 'created:' || p_queue || ':' || coalesce(p_key, '')
    WHEN p_policy = 'exclusive' THEN 'exclusive:' || p_queue || ':' || coalesce(p_key, '')
END;

-- What is stored of a job's options: those of its queue, overlaid with its own. Later changes of the queue do not reach it.
CREATE FUNCTION slaq.stored_options(q slaq.queues, p_options jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
RETURN q.options
    || CASE WHEN q.dead_letter IS NULL THEN '{}' ELSE jsonb_build_object('dead_letter', q.dead_letter) END
    || (p_options - ARRAY['priority', 'start_after', 'throttle', 'next_slot']);

-- When a job may start: null for at once. start_after is a timestamp, or a number of seconds from now.
CREATE FUNCTION slaq.start_time(p_options jsonb) RETURNS timestamptz
LANGUAGE sql STABLE
RETURN CASE WHEN p_options ? 'start_after' THEN nullif(greatest(
    CASE jsonb_typeof(p_options -> 'start_after')
        WHEN 'number' THEN now() + (p_options ->> 'start_after')::double precision * interval '1 second'
        ELSE (p_options ->> 'start_after')::timestamptz
    END, now()), now()) END;

-- Add one job; null when the queue's policy or a taken slot refuses it.
CREATE FUNCTION slaq.send_job(p_queue text, p_data jsonb DEFAULT NULL, p_options jsonb DEFAULT '{}') RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
DECLARE
    q slaq.queues;
    created bigint;
BEGIN
    IF p_options ? 'throttle' THEN
        RETURN slaq.send_in_slot(p_queue, p_data, p_options);
    END IF;
    SELECT * INTO q FROM slaq.queues WHERE name = p_queue;
    IF q.name IS NULL OR p_queue LIKE 'sla-%' THEN
        q := slaq.queue_named(p_queue);
    END IF;
    IF q.policy = 'key_strict_fifo' AND NOT p_options ? 'key' THEN
        RAISE EXCEPTION 'queue "%" has the policy key_strict_fifo: a job needs a key', p_queue USING ERRCODE = 'SQ400';
    END IF;
    INSERT INTO slaq.procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at)
    VALUES (
        p_queue, 'slaq:' || p_queue, coalesce((p_options ->> 'priority')::integer, 0),
        slaq.lock_for(q.policy, p_queue, p_options ->> 'key'),
        slaq.queueing_lock_for(q.policy, p_queue, p_options ->> 'key'),
        jsonb_build_object('data', p_data, 'meta', slaq.stored_options(q, p_options)),
        slaq.start_time(p_options)
    )
    ON CONFLICT DO NOTHING RETURNING id INTO created;
    RETURN created;
END
$$;

-- One job per queue, key and slot of time. Slots are aligned to the epoch; a job that has run still holds its slot.
CREATE FUNCTION slaq.send_in_slot(p_queue text, p_data jsonb, p_options jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
DECLARE
    length bigint := (p_options ->> 'throttle')::bigint;
    this_slot bigint := floor(extract(epoch FROM now()) / length) * length;
    wanted_key text := coalesce(p_options ->> 'key', '');
    plain jsonb := p_options - ARRAY['throttle', 'next_slot'];
    created bigint;
BEGIN
    FOR turn IN 0 .. CASE WHEN (p_options ->> 'next_slot')::boolean THEN 1 ELSE 0 END LOOP
        IF turn = 1 THEN
            plain := plain || jsonb_build_object('start_after', to_timestamp(this_slot + length + 1));
        END IF;
        CONTINUE WHEN EXISTS (
            SELECT FROM slaq.job_slots WHERE queue = p_queue AND key = wanted_key AND slot = this_slot + turn * length
        );
        created := slaq.send_job(p_queue, p_data, plain);
        EXIT WHEN created IS NULL;
        INSERT INTO slaq.job_slots (queue, key, slot, job_id)
        VALUES (p_queue, wanted_key, this_slot + turn * length, created) ON CONFLICT DO NOTHING;
        IF FOUND THEN
            RETURN created;
        END IF;
        DELETE FROM slaq.procrastinate_jobs WHERE id = created; -- another session was quicker
    END LOOP;
    PERFORM slaq.queue_named(p_queue);
    RETURN NULL;
END
$$;

-- Add many jobs in one statement: [{"data": ..., "options": {...}}, ...]. Those that a policy refuses are left out.
-- Returns the new ids in the order given, null where refused.
CREATE FUNCTION slaq.insert_jobs(p_queue text, p_jobs jsonb) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
DECLARE
    q slaq.queues := slaq.queue_named(p_queue);
    base jsonb := slaq.stored_options(q, '{}');
    ids bigint[];
    numbers regclass := pg_get_serial_sequence('procrastinate_jobs', 'id');
BEGIN
    IF q.policy = 'key_strict_fifo' AND jsonb_path_exists(p_jobs, '$[*] ? (!exists(@.options.key))') THEN
        RAISE EXCEPTION 'queue "%" has the policy key_strict_fifo: every job needs a key', p_queue USING ERRCODE = 'SQ400';
    END IF;
    WITH listed AS MATERIALIZED (
        SELECT nextval(numbers) AS id, position, job -> 'data' AS data,
            coalesce(job -> 'options', '{}') AS options
        FROM jsonb_array_elements(p_jobs) WITH ORDINALITY AS given (job, position)
    ), added AS (
        INSERT INTO slaq.procrastinate_jobs (id, queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at)
        SELECT id, p_queue, 'slaq:' || p_queue, coalesce((options ->> 'priority')::integer, 0),
            slaq.lock_for(q.policy, p_queue, options ->> 'key'),
            slaq.queueing_lock_for(q.policy, p_queue, options ->> 'key'),
            jsonb_build_object('data', data, 'meta', base || (options - ARRAY['priority', 'start_after'])),
            slaq.start_time(options)
        FROM listed ORDER BY position
        ON CONFLICT DO NOTHING RETURNING id
    )
    SELECT array_agg(added.id ORDER BY listed.position) INTO ids FROM listed LEFT JOIN added USING (id);
    RETURN coalesce(ids, '{}');
END
$$;

-- One job for each subscribed queue, all or none; queues whose policy refuses it are left out.
CREATE FUNCTION slaq.publish_event(p_event text, p_data jsonb DEFAULT NULL, p_options jsonb DEFAULT '{}') RETURNS bigint[]
LANGUAGE sql SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT coalesce(array_agg(sent.id ORDER BY sent.id) FILTER (WHERE sent.id IS NOT NULL), '{}')
    FROM (
        SELECT slaq.send_job(queue, p_data, p_options) AS id
        FROM slaq.queue_subscriptions WHERE event = p_event ORDER BY queue OFFSET 0
    ) AS sent;
END;

-- The waiting jobs that an update means: {"id": ...} or {"key": ..., "match": "newest"|"oldest"|"all"}.
CREATE FUNCTION slaq.waiting_jobs(p_queue text, p_selector jsonb) RETURNS SETOF bigint
LANGUAGE sql STABLE SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT id FROM slaq.procrastinate_jobs
    WHERE queue_name = p_queue AND task_name = 'slaq:' || p_queue AND status = 'todo' AND CASE
        WHEN p_selector ? 'id' THEN id = (p_selector ->> 'id')::bigint
        ELSE coalesce(args -> 'meta' ->> 'key', '') = coalesce(p_selector ->> 'key', '')
    END
    ORDER BY CASE WHEN p_selector ->> 'match' = 'oldest' THEN id ELSE -id END
    LIMIT CASE WHEN p_selector ->> 'match' = 'all' THEN NULL ELSE 1 END;
END;

-- Change jobs that still wait: {"data": ...} and options, only what is given. Returns the ids that were changed.
CREATE FUNCTION slaq.update_jobs(p_queue text, p_selector jsonb, p_changes jsonb) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
DECLARE
    options jsonb := coalesce(p_changes -> 'options', '{}');
    ids bigint[];
BEGIN
    PERFORM slaq.queue_named(p_queue);
    WITH changed AS (
        UPDATE slaq.procrastinate_jobs SET
            priority = coalesce((options ->> 'priority')::integer, priority),
            scheduled_at = CASE WHEN options ? 'start_after' THEN slaq.start_time(options) ELSE scheduled_at END,
            args = jsonb_build_object(
                'data', CASE WHEN p_changes ? 'data' THEN p_changes -> 'data' ELSE args -> 'data' END,
                'meta', (args -> 'meta') || (options - ARRAY['priority', 'start_after', 'key', 'throttle', 'next_slot'])
            )
        WHERE id = ANY (ARRAY(SELECT slaq.waiting_jobs(p_queue, p_selector))) AND status = 'todo'
        RETURNING id
    )
    SELECT array_agg(id ORDER BY id) INTO ids FROM changed;
    RETURN coalesce(ids, '{}');
END
$$;

-- Change the waiting job of this key, or add one: {"jobs": [...], "updated": n, "inserted": n}.
CREATE FUNCTION slaq.upsert_job(p_queue text, p_data jsonb, p_options jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = slaq, pg_temp AS $$
DECLARE
    ids bigint[];
    created bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('slaq upsert ' || p_queue || ':' || coalesce(p_options ->> 'key', ''), 0));
    ids := slaq.update_jobs(
        p_queue, jsonb_build_object('key', p_options ->> 'key'), jsonb_build_object('data', p_data, 'options', p_options)
    );
    IF cardinality(ids) = 0 THEN
        created := slaq.send_job(p_queue, p_data, p_options);
        RETURN jsonb_build_object(
            'jobs', to_jsonb(array_remove(ARRAY[created], NULL)), 'updated', 0, 'inserted', (created IS NOT NULL)::integer
        );
    END IF;
    RETURN jsonb_build_object('jobs', to_jsonb(ids), 'updated', cardinality(ids), 'inserted', 0);
END
$$;
