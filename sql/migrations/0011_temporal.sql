-- What the Enterprise edition adds: which workflow watches a ticket, what it must be told, and who vouches for Temporal.

-- The workflow of a ticket, by an id that is unique over all tenants; kept until its end has been acknowledged.
CREATE TABLE slaq.sla_workflows (
    workflow_id text NOT NULL PRIMARY KEY,
    tenant text NOT NULL REFERENCES slaq.tenants,
    ticket_id text NOT NULL,
    heard_at timestamptz NOT NULL, -- when it was last told something, or settled something
    UNIQUE (tenant, ticket_id)
);

-- What must still be told: one row for each ticket, written in the transaction of the change. It holds no snapshot, which
-- is read when it is sent, and has no key to tickets, because it outlives a deleted one.
CREATE TABLE slaq.sla_outbox (
    tenant text NOT NULL REFERENCES slaq.tenants,
    ticket_id text NOT NULL,
    workflow_id text NOT NULL,
    version bigint NOT NULL,
    change text NOT NULL CHECK (
        change IN ('start', 'pause', 'resume', 'completeResponse', 'completeResolution', 'cancel', 'refresh')),
    is_restart boolean NOT NULL DEFAULT false, -- stays until it is sent: the run is replaced, not told
    attempts integer NOT NULL DEFAULT 0,
    last_error text,
    created_at timestamptz NOT NULL,
    available_at timestamptz NOT NULL,
    lease_until timestamptz,
    PRIMARY KEY (tenant, ticket_id)
);
CREATE INDEX sla_outbox_next ON slaq.sla_outbox (greatest(available_at, lease_until));

-- The worker processes, and whether Temporal answers them. Rows of nobody's tenant, that everybody may read.
CREATE TABLE slaq.sla_worker_health (
    worker_id text NOT NULL PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('worker', 'temporal-worker')),
    edition text NOT NULL CHECK (edition IN ('community', 'enterprise')),
    is_temporal_up boolean NOT NULL,
    checked_at timestamptz NOT NULL,
    detail text
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['sla_workflows', 'sla_outbox'] LOOP
        EXECUTE format('ALTER TABLE slaq.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE slaq.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_tenant ON slaq.%I
             USING (tenant = nullif(current_setting(''slaq.tenant'', true), ''''))
             WITH CHECK (tenant = nullif(current_setting(''slaq.tenant'', true), ''''))', name);
        EXECUTE format('CREATE POLICY every_tenant ON slaq.%I TO slaq_timer USING (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON slaq.%I TO slaq_application', name);
    END LOOP;
END
$$;
ALTER TABLE slaq.sla_worker_health ENABLE ROW LEVEL SECURITY;
ALTER TABLE slaq.sla_worker_health FORCE ROW LEVEL SECURITY;
CREATE POLICY anybody_reads ON slaq.sla_worker_health FOR SELECT USING (true);
CREATE POLICY workers_write ON slaq.sla_worker_health TO slaq_timer USING (true);
GRANT SELECT ON slaq.sla_worker_health TO slaq_application;

-- ── in the application's transaction ─────────────────────────────────────────────────────────────────────────────────

-- Whether a worker has vouched for Temporal in the last half minute. This is about live processes, hence their real time.
CREATE FUNCTION slaq.is_temporal_up() RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT EXISTS (
        SELECT FROM slaq.sla_worker_health h WHERE h.is_temporal_up AND h.checked_at > clock_timestamp() - interval '30 seconds'
    );
END;

-- Whether a ticket's first promise with a target has come with its newest change, and whether that change replaced its policy.
CREATE FUNCTION slaq.promise_change(p_tenant text, p_ticket text, p_version bigint, OUT is_first boolean, OUT is_policy_change boolean)
LANGUAGE sql STABLE SET search_path = slaq, pg_temp
BEGIN ATOMIC
    WITH promised AS (
        SELECT f.change, f.fact_id, p.body ->> 'policy_id' AS policy,
               coalesce(p.body ->> 'response_minutes', p.body ->> 'resolution_minutes') IS NOT NULL AS is_targeted
        FROM slaq.sla_facts f JOIN slaq.sla_promises p ON p.tenant = f.tenant AND p.promise_id = f.promise_id
        WHERE f.tenant = p_tenant AND f.ticket_id = p_ticket
    )
    SELECT
        EXISTS (SELECT FROM promised WHERE is_targeted AND change = p_version)
            AND NOT EXISTS (SELECT FROM promised WHERE is_targeted AND change < p_version),
        (SELECT policy FROM promised WHERE change = p_version ORDER BY fact_id DESC LIMIT 1)
            <> (SELECT policy FROM promised WHERE change < p_version ORDER BY fact_id DESC LIMIT 1);
END;

-- Take the id of a ticket's workflow for it; null when another ticket of any tenant has the same one.
CREATE FUNCTION slaq.claim_workflow(p_tenant text, p_ticket text, p_now timestamptz) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = slaq, pg_temp
AS $$
DECLARE
    wanted text := 'sla-ticket-' || p_tenant || '-' || p_ticket;
BEGIN
    INSERT INTO slaq.sla_workflows (workflow_id, tenant, ticket_id, heard_at)
    VALUES (wanted, p_tenant, p_ticket, p_now)
    ON CONFLICT DO NOTHING;
    RETURN (SELECT w.workflow_id FROM slaq.sla_workflows w WHERE w.tenant = p_tenant AND w.ticket_id = p_ticket);
END
$$;

-- Put what must be told into the outbox. Its version rises with every writing, so that acknowledging an older one keeps it.
CREATE FUNCTION slaq.put_into_outbox(
    p_tenant text, p_ticket text, p_workflow text, p_version bigint, p_change text, p_is_restart boolean, p_now timestamptz
) RETURNS void
LANGUAGE sql VOLATILE SET search_path = slaq, pg_temp
BEGIN ATOMIC
    INSERT INTO slaq.sla_outbox AS o (tenant, ticket_id, workflow_id, version, change, is_restart, created_at, available_at)
    VALUES (p_tenant, p_ticket, p_workflow, p_version, p_change, p_is_restart, p_now, p_now)
    ON CONFLICT (tenant, ticket_id) DO UPDATE SET
        version = greatest(excluded.version, o.version + 1),
        change = excluded.change,
        is_restart = o.is_restart OR excluded.is_restart,
        attempts = 0,
        available_at = excluded.available_at;
END;

-- Tell a ticket's workflow of a change; the caller holds the ticket's lock. What became of it:
--   told       it is in the outbox                     polled      the ticket belongs to the poller
--   started    the same, and Temporal owns it now      down        nobody vouches for Temporal: to the poller, for good
--                                                      collision   another ticket has this workflow id: to the poller
CREATE FUNCTION slaq.tell_workflow(p_tenant text, p_ticket text, p_change text) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = slaq, pg_temp
AS $$
DECLARE
    told_at timestamptz := clock_timestamp();
    alarm slaq.sla_alarms;
    promised record;
    workflow text;
    is_followed boolean := EXISTS ( -- an earlier ticket of this id, whose workflow has not been told its end
        SELECT FROM slaq.sla_workflows w WHERE w.tenant = p_tenant AND w.ticket_id = p_ticket);
BEGIN
    SELECT * INTO alarm FROM slaq.sla_alarms a WHERE a.tenant = p_tenant AND a.ticket_id = p_ticket;
    promised := slaq.promise_change(p_tenant, p_ticket, alarm.version);
    IF alarm.backend = 'polling' THEN
        IF p_change <> 'start' OR NOT promised.is_first THEN
            RETURN 'polled';
        ELSIF NOT slaq.is_temporal_up() THEN
            RETURN 'down';
        END IF;
    END IF;
    workflow := slaq.claim_workflow(p_tenant, p_ticket, told_at);
    IF (alarm.backend = 'temporal') <> (workflow IS NOT NULL) THEN
        UPDATE slaq.sla_alarms a SET backend = CASE WHEN workflow IS NULL THEN 'polling' ELSE 'temporal' END
        WHERE a.tenant = p_tenant AND a.ticket_id = p_ticket;
    END IF;
    IF workflow IS NULL THEN
        RETURN 'collision';
    END IF;
    PERFORM slaq.put_into_outbox(
        p_tenant, p_ticket, workflow, alarm.version,
        CASE WHEN p_change = 'start' AND alarm.backend = 'temporal' THEN 'refresh' ELSE p_change END,
        p_change = 'start'
            AND CASE alarm.backend WHEN 'temporal' THEN coalesce(promised.is_policy_change, false) ELSE is_followed END,
        told_at);
    RETURN CASE alarm.backend WHEN 'temporal' THEN 'told' ELSE 'started' END;
END
$$;

-- ── in the transaction of a worker's activity ────────────────────────────────────────────────────────────────────────

-- Lock a ticket that is there and read it; null when it is gone. The instant is read after the lock is held.
CREATE FUNCTION slaq.hold_ticket(p_tenant text, p_ticket text) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = slaq, pg_temp
AS $$
DECLARE
    alarm slaq.sla_alarms;
BEGIN
    PERFORM set_config('slaq.tenant', p_tenant, true), set_config('lock_timeout', '5s', true);
    SELECT * INTO alarm FROM slaq.sla_alarms a WHERE a.tenant = p_tenant AND a.ticket_id = p_ticket FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE slaq.sla_workflows w SET heard_at = clock_timestamp() WHERE w.tenant = p_tenant AND w.ticket_id = p_ticket;
    RETURN slaq.ticket_document(p_tenant, p_ticket) || jsonb_build_object(
        'now', clock_timestamp(), 'version', alarm.version, 'due_at', alarm.due_at, 'backend', alarm.backend);
END
$$;

-- Write an audit entry once: the same ticket, type and data a second time changes nothing. The caller holds the ticket's lock.
CREATE FUNCTION slaq.audit_once(p_tenant text, p_ticket text, p_type text, p_data jsonb, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = slaq, pg_temp
AS $$
BEGIN
    INSERT INTO slaq.sla_audit_log (tenant, ticket_id, event_type, event_data, created_at)
    SELECT p_tenant, p_ticket, p_type, p_data, p_now
    WHERE NOT EXISTS (
        SELECT FROM slaq.sla_audit_log l
        WHERE l.tenant = p_tenant AND l.ticket_id = p_ticket AND l.event_type = p_type AND l.event_data = p_data);
    RETURN FOUND;
END
$$;

-- ── across tenants: for workers only ─────────────────────────────────────────────────────────────────────────────────
GRANT CREATE ON SCHEMA slaq TO slaq_timer;
GRANT SELECT, INSERT, UPDATE, DELETE ON slaq.sla_workflows, slaq.sla_outbox, slaq.sla_worker_health TO slaq_timer;
GRANT EXECUTE ON FUNCTION
    slaq.claim_workflow(text, text, timestamptz), slaq.is_temporal_up(),
    slaq.put_into_outbox(text, text, text, bigint, text, boolean, timestamptz)
TO slaq_timer;

SET LOCAL ROLE slaq_timer;

-- Lease what may be sent, with everything that the snapshots need; no lock is held afterwards. The documents are read after
-- the lease by one statement, version and facts together, so a snapshot never claims to be newer than it is.
CREATE FUNCTION slaq.lease_outbox(p_limit integer, p_now timestamptz, p_lease interval) RETURNS SETOF text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = slaq, pg_temp
AS $$
DECLARE
    leased slaq.sla_outbox[];
BEGIN
    WITH ready AS MATERIALIZED (
        SELECT o.tenant, o.ticket_id FROM slaq.sla_outbox o
        WHERE greatest(o.available_at, o.lease_until) <= p_now
        ORDER BY greatest(o.available_at, o.lease_until)
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE slaq.sla_outbox o SET lease_until = p_now + p_lease
        FROM ready WHERE o.tenant = ready.tenant AND o.ticket_id = ready.ticket_id
        RETURNING o
    )
    SELECT array_agg((taken.o)::slaq.sla_outbox) INTO leased FROM taken;
    RETURN QUERY
        SELECT (slaq.ticket_document(l.tenant, l.ticket_id) || jsonb_build_object(
            'tenant', l.tenant, 'ticket_id', l.ticket_id, 'workflow_id', l.workflow_id, 'change', l.change,
            'is_restart', l.is_restart, 'sent_version', l.version, 'attempts', l.attempts,
            'version', coalesce(a.version, l.version), 'due_at', a.due_at, 'backend', coalesce(a.backend, 'temporal')
        ))::text
        FROM unnest(leased) l
        LEFT JOIN slaq.sla_alarms a ON a.tenant = l.tenant AND a.ticket_id = l.ticket_id;
END
$$;

-- Acknowledge what was sent: [[tenant, ticket, version, is the end], ...]. A row written meanwhile stays and is free again.
CREATE FUNCTION slaq.acknowledge_outbox(p_sent jsonb, p_now timestamptz) RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    WITH sent AS MATERIALIZED (
        SELECT s ->> 0 AS tenant, s ->> 1 AS ticket_id, (s ->> 2)::bigint AS version, (s ->> 3)::boolean AS is_end
        FROM jsonb_array_elements(p_sent) s
    ), done AS (
        DELETE FROM slaq.sla_outbox o USING sent
        WHERE o.tenant = sent.tenant AND o.ticket_id = sent.ticket_id AND o.version = sent.version
        RETURNING sent.*
    ), newer AS (
        UPDATE slaq.sla_outbox o SET lease_until = NULL FROM sent
        WHERE o.tenant = sent.tenant AND o.ticket_id = sent.ticket_id AND o.version <> sent.version
    ), heard AS (
        UPDATE slaq.sla_workflows w SET heard_at = p_now FROM done
        WHERE w.tenant = done.tenant AND w.ticket_id = done.ticket_id AND NOT done.is_end
    ), ended AS (
        DELETE FROM slaq.sla_workflows w USING done
        WHERE w.tenant = done.tenant AND w.ticket_id = done.ticket_id AND done.is_end
    )
    SELECT count(*)::integer FROM done;
END;

-- Put off what could not be sent.
CREATE FUNCTION slaq.postpone_outbox(p_tenant text, p_ticket text, p_now timestamptz, p_wait interval, p_error text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    UPDATE slaq.sla_outbox o SET
        attempts = o.attempts + 1, available_at = p_now + p_wait, lease_until = NULL, last_error = left(p_error, 2000)
    WHERE o.tenant = p_tenant AND o.ticket_id = p_ticket;
END;

-- Give a ticket whose workflow can never be started to the poller.
CREATE FUNCTION slaq.disown_ticket(p_tenant text, p_ticket text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    UPDATE slaq.sla_alarms a SET backend = 'polling' WHERE a.tenant = p_tenant AND a.ticket_id = p_ticket;
    DELETE FROM slaq.sla_outbox o WHERE o.tenant = p_tenant AND o.ticket_id = p_ticket;
    DELETE FROM slaq.sla_workflows w WHERE w.tenant = p_tenant AND w.ticket_id = p_ticket;
END;

-- Open tickets of one owner after a key, in its order. is_behind: the poller has told something since the workflow was heard.
CREATE FUNCTION slaq.open_tickets_of(p_backend text, p_tenant text, p_ticket text, p_limit integer)
RETURNS TABLE (tenant text, ticket_id text, workflow_id text, is_behind boolean, is_waiting boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT a.tenant, a.ticket_id, w.workflow_id,
           EXISTS (
               SELECT FROM slaq.sla_crossings c
               WHERE c.tenant = a.tenant AND c.ticket_id = a.ticket_id AND c.claimed_by = 'polling' AND c.noticed_at > w.heard_at
           ),
           EXISTS (SELECT FROM slaq.sla_outbox o WHERE o.tenant = a.tenant AND o.ticket_id = a.ticket_id)
    FROM slaq.sla_alarms a
    JOIN slaq.tickets t ON t.tenant = a.tenant AND t.ticket_id = a.ticket_id
    LEFT JOIN slaq.sla_workflows w ON w.tenant = a.tenant AND w.ticket_id = a.ticket_id
    WHERE a.backend = p_backend AND t.sla_started_at IS NOT NULL AND t.sla_resolution_at IS NULL
      AND (t.sla_response_due_at IS NOT NULL OR t.sla_resolution_due_at IS NOT NULL)
      AND (a.tenant, a.ticket_id) > (p_tenant, p_ticket)
    ORDER BY a.tenant, a.ticket_id
    LIMIT p_limit;
END;

-- Ask for a ticket's run: to be there, or to be replaced. p_is_adopted: the ticket is the poller's and becomes Temporal's.
-- False when its owner is another one by now, it is locked, or its workflow id is taken.
CREATE FUNCTION slaq.request_run(p_tenant text, p_ticket text, p_is_restart boolean, p_is_adopted boolean, p_now timestamptz)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = slaq, pg_temp
AS $$
DECLARE
    alarm slaq.sla_alarms;
    workflow text;
BEGIN
    SELECT * INTO alarm FROM slaq.sla_alarms a
    WHERE a.tenant = p_tenant AND a.ticket_id = p_ticket
      AND a.backend = CASE WHEN p_is_adopted THEN 'polling' ELSE 'temporal' END
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    workflow := slaq.claim_workflow(p_tenant, p_ticket, p_now);
    IF workflow IS NULL THEN
        RETURN false;
    END IF;
    IF p_is_adopted THEN
        UPDATE slaq.sla_alarms a SET backend = 'temporal' WHERE a.tenant = p_tenant AND a.ticket_id = p_ticket;
    END IF;
    PERFORM slaq.put_into_outbox(p_tenant, p_ticket, workflow, alarm.version, 'refresh', p_is_restart, p_now);
    RETURN true;
END
$$;

-- Say that a worker lives, and whether Temporal answers it; rows of workers long gone are removed.
CREATE FUNCTION slaq.report_health(
    p_worker text, p_kind text, p_edition text, p_is_up boolean, p_detail text, p_now timestamptz
) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    INSERT INTO slaq.sla_worker_health (worker_id, kind, edition, is_temporal_up, detail, checked_at)
    VALUES (p_worker, p_kind, p_edition, p_is_up, p_detail, p_now)
    ON CONFLICT (worker_id) DO UPDATE SET
        is_temporal_up = excluded.is_temporal_up, detail = excluded.detail, checked_at = excluded.checked_at;
    DELETE FROM slaq.sla_worker_health h WHERE h.checked_at < p_now - interval '10 minutes';
END;

-- A worker that ends vouches for nothing any more.
CREATE FUNCTION slaq.retire_worker(p_worker text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    DELETE FROM slaq.sla_worker_health h WHERE h.worker_id = p_worker;
END;

-- How the outbox stands, for operators and metrics.
CREATE FUNCTION slaq.outbox_backlog(OUT waiting bigint, OUT failing bigint, OUT oldest_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT count(*), count(*) FILTER (WHERE o.attempts > 0), min(o.created_at) FROM slaq.sla_outbox o;
END;

DO $$
DECLARE
    signature text;
BEGIN
    FOREACH signature IN ARRAY ARRAY[
        'lease_outbox(integer, timestamptz, interval)', 'acknowledge_outbox(jsonb, timestamptz)',
        'postpone_outbox(text, text, timestamptz, interval, text)', 'disown_ticket(text, text)',
        'open_tickets_of(text, text, text, integer)', 'request_run(text, text, boolean, boolean, timestamptz)',
        'report_health(text, text, text, boolean, text, timestamptz)', 'retire_worker(text)', 'outbox_backlog()'
    ] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION slaq.%s FROM PUBLIC', signature);
        EXECUTE format('GRANT EXECUTE ON FUNCTION slaq.%s TO slaq_worker', signature);
    END LOOP;
END
$$;

SET LOCAL ROLE slaq_owner;
REVOKE CREATE ON SCHEMA slaq FROM slaq_timer;
