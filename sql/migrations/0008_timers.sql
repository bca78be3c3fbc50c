-- The short, closed list of functions that work across tenants. Their owner sees every tenant's rows of these
-- tables and nothing else; only workers may call them.
GRANT CREATE ON SCHEMA slaq TO slaq_timer;
GRANT USAGE ON SCHEMA slaq TO slaq_timer;
GRANT SELECT, UPDATE ON slaq.sla_alarms TO slaq_timer;
GRANT SELECT ON slaq.tickets, slaq.sla_facts, slaq.sla_crossings, slaq.sla_promises TO slaq_timer;
GRANT EXECUTE ON FUNCTION slaq.ticket_document(text, text) TO slaq_timer;

SET LOCAL ROLE slaq_timer;

-- Lease up to p_limit due alarms to one worker and return all that settling them needs, holding no lock afterwards.
-- Alarms of tickets that Temporal owns are taken only when they are overdue by p_grace.
-- The documents are read by a statement of their own after the lease: they may be newer than the version leased,
-- which the fence then notices, and can never be older.
CREATE FUNCTION slaq.lease_due(p_limit integer, p_now timestamptz, p_lease interval, p_grace interval) RETURNS SETOF text
-- A generic plan does not know how few are wanted and might read the whole table.
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = slaq, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    leased slaq.sla_alarms[];
BEGIN
    WITH due AS MATERIALIZED (
        SELECT a.tenant, a.ticket_id FROM slaq.sla_alarms a
        WHERE a.wake_at <= p_now AND (a.backend = 'polling' OR a.wake_at <= p_now - p_grace)
        ORDER BY a.wake_at
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE slaq.sla_alarms a SET lease_until = p_now + p_lease
        FROM due WHERE a.tenant = due.tenant AND a.ticket_id = due.ticket_id
        RETURNING a
    )
    SELECT array_agg((taken.a)::slaq.sla_alarms) INTO leased FROM taken;
    RETURN QUERY
        SELECT (slaq.ticket_document(l.tenant, l.ticket_id) || jsonb_build_object(
            'tenant', l.tenant, 'ticket_id', l.ticket_id, 'version', l.version, 'backend', l.backend, 'due_at', l.due_at
        ))::text
        FROM unnest(leased) l
        ORDER BY l.due_at;
END
$$;

-- The next instant after p_now at which an alarm may be due, and whether any is due already (and locked or leased away).
-- Asked for in the order of the index (by EXISTS too it would not be): else a plan for any instant reads the whole table.
CREATE FUNCTION slaq.next_wake(p_now timestamptz, OUT is_due boolean, OUT wake_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT
        coalesce((
            SELECT true FROM slaq.sla_alarms a WHERE a.wake_at <= p_now AND a.backend = 'polling' ORDER BY a.wake_at LIMIT 1
        ), false),
        (SELECT a.wake_at FROM slaq.sla_alarms a WHERE a.wake_at > p_now ORDER BY a.wake_at LIMIT 1);
END;

-- The bodies of promises of any tenant: p_wanted and the result are lists of [tenant, promise id(, body)].
CREATE FUNCTION slaq.promise_bodies_of_all(p_wanted jsonb) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT coalesce(jsonb_agg(jsonb_build_array(p.tenant, p.promise_id, p.body)), '[]')
    FROM jsonb_array_elements(p_wanted) wanted
    JOIN slaq.sla_promises p ON p.tenant = wanted ->> 0 AND p.promise_id = wanted ->> 1;
END;

-- Put off a ticket whose settling failed, so that it can neither block nor starve the others; its due_at stays.
-- A ticket that is locked or has changed is left alone: its lease ends soon.
CREATE FUNCTION slaq.postpone_alarm(p_tenant text, p_ticket text, p_version bigint, p_now timestamptz, p_error text) RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    UPDATE slaq.sla_alarms a SET
        failures = a.failures + 1,
        retry_at = p_now + least(interval '10 seconds' * power(2, least(a.failures, 10)), interval '1 hour'),
        lease_until = NULL,
        last_error = left(p_error, 2000)
    FROM (
        SELECT FROM slaq.sla_alarms l WHERE l.tenant = p_tenant AND l.ticket_id = p_ticket AND l.version = p_version
        FOR UPDATE SKIP LOCKED
    ) locked
    WHERE a.tenant = p_tenant AND a.ticket_id = p_ticket
    RETURNING a.failures;
END;

-- How the timer stands, over all tenants: for operators and metrics.
CREATE FUNCTION slaq.timer_backlog(p_now timestamptz, OUT armed bigint, OUT due bigint, OUT failing bigint, OUT oldest_due_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT count(*) FILTER (WHERE a.due_at IS NOT NULL),
           count(*) FILTER (WHERE a.due_at <= p_now),
           count(*) FILTER (WHERE a.failures > 0),
           min(a.due_at) FILTER (WHERE a.due_at <= p_now)
    FROM slaq.sla_alarms a;
END;

REVOKE EXECUTE ON FUNCTION
    slaq.lease_due(integer, timestamptz, interval, interval), slaq.next_wake(timestamptz),
    slaq.promise_bodies_of_all(jsonb), slaq.postpone_alarm(text, text, bigint, timestamptz, text),
    slaq.timer_backlog(timestamptz)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    slaq.lease_due(integer, timestamptz, interval, interval), slaq.next_wake(timestamptz),
    slaq.promise_bodies_of_all(jsonb), slaq.postpone_alarm(text, text, bigint, timestamptz, text),
    slaq.timer_backlog(timestamptz)
TO slaq_worker;

SET LOCAL ROLE slaq_owner;
REVOKE CREATE ON SCHEMA slaq FROM slaq_timer;
