-- Reading a ticket, and writing what follows from a change of it.

-- Everything that the clocks of a ticket are computed from. Instants are written with their offset.
CREATE FUNCTION slaq.ticket_document(p_tenant text, p_ticket text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT jsonb_build_object(
        'ticket', (SELECT to_jsonb(t) FROM slaq.tickets t WHERE t.tenant = p_tenant AND t.ticket_id = p_ticket),
        'facts', (
            SELECT coalesce(jsonb_agg(jsonb_build_array(f.kind, f.at, f.known_at, f.source, f.promise_id, f.change)
                            ORDER BY f.fact_id), '[]')
            FROM slaq.sla_facts f WHERE f.tenant = p_tenant AND f.ticket_id = p_ticket
        ),
        'crossings', (
            SELECT coalesce(jsonb_agg(jsonb_build_array(
                c.crossing_id, c.phase, c.kind, c.percent, c.level, c.crossed_at, c.voided_at IS NOT NULL, c.is_silent
            ) ORDER BY c.crossed_at), '[]')
            FROM slaq.sla_crossings c WHERE c.tenant = p_tenant AND c.ticket_id = p_ticket
        )
    );
END;

-- The bodies of promises, by id.
CREATE FUNCTION slaq.promise_bodies(p_tenant text, p_ids text[]) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT coalesce(jsonb_object_agg(p.promise_id, p.body), '{}')
    FROM slaq.sla_promises p WHERE p.tenant = p_tenant AND p.promise_id = ANY (p_ids);
END;

-- What the tenant's configuration says about a ticket with these fields: promise, pause and closing rules.
CREATE FUNCTION slaq.rules_of(p_tenant text, p_fields jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = slaq, pg_temp
AS $$
DECLARE
    policy text;
    body jsonb;
BEGIN
    IF (p_fields -> 'is_cancelled' = 'true' OR p_fields -> 'is_policy_cleared' = 'true') IS NOT TRUE THEN
        policy := slaq.policy_of(p_tenant, p_fields ->> 'client_id', p_fields ->> 'board_id', p_fields ->> 'pinned_policy_id');
        body := slaq.promise_body(p_tenant, policy, p_fields ->> 'priority_id');
    END IF;
    body := coalesce(body, '{}');
    RETURN jsonb_build_object(
        'content', md5(body::text),
        'promise', body,
        'is_closed', (
            SELECT s.is_closed FROM slaq.statuses s
            WHERE s.tenant = p_tenant AND s.status_id = p_fields ->> 'status_id'
        ),
        'pauses', (
            SELECT c.pauses_sla FROM slaq.status_sla_pause_config c
            WHERE c.tenant = p_tenant AND c.status_id = p_fields ->> 'status_id'
        ),
        'pause_on_awaiting_client', coalesce((
            SELECT s.pause_on_awaiting_client AND s.response_state_tracking
            FROM slaq.sla_settings s WHERE s.tenant = p_tenant
        ), true)
    );
END
$$;

-- Lock a ticket's alarm row, which exists from here on, and nothing else.
CREATE FUNCTION slaq.lock_ticket(p_tenant text, p_ticket text) RETURNS slaq.sla_alarms
LANGUAGE plpgsql VOLATILE SET search_path = slaq, pg_temp
AS $$
DECLARE
    alarm slaq.sla_alarms;
BEGIN
    LOOP
        SELECT * INTO alarm FROM slaq.sla_alarms a WHERE a.tenant = p_tenant AND a.ticket_id = p_ticket FOR UPDATE;
        EXIT WHEN FOUND; -- else it is new, or was deleted while we waited for its lock
        INSERT INTO slaq.sla_alarms (tenant, ticket_id) VALUES (p_tenant, p_ticket) ON CONFLICT DO NOTHING;
    END LOOP;
    RETURN alarm;
END
$$;

-- Plans are kept for a session. One that was made while a table was small would read all of it when it has grown, hence
-- enable_seqscan = off on whatever is called once for a ticket.

-- Lock a ticket, then read it: its document, the rules for it with p_fields laid over what is stored, and the instant.
CREATE FUNCTION slaq.open_ticket(p_tenant text, p_ticket text, p_fields jsonb) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = slaq, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    alarm slaq.sla_alarms;
    document jsonb;
BEGIN
    PERFORM set_config('slaq.tenant', p_tenant, true);
    alarm := slaq.lock_ticket(p_tenant, p_ticket);
    document := slaq.ticket_document(p_tenant, p_ticket);
    RETURN document || jsonb_build_object(
        'now', clock_timestamp(),
        'version', alarm.version,
        'due_at', alarm.due_at,
        'backend', alarm.backend,
        'rules', slaq.rules_of(p_tenant, coalesce(nullif(document -> 'ticket', 'null'), '{}') || p_fields)
    );
END
$$;

-- Read a ticket without a lock.
CREATE FUNCTION slaq.read_ticket(p_tenant text, p_ticket text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = slaq, pg_temp SET enable_seqscan = off
AS $$
BEGIN
    PERFORM set_config('slaq.tenant', p_tenant, true);
    RETURN slaq.ticket_document(p_tenant, p_ticket) || jsonb_build_object(
        'now', clock_timestamp(),
        'version', 0,
        'backend', (SELECT a.backend FROM slaq.sla_alarms a WHERE a.tenant = p_tenant AND a.ticket_id = p_ticket),
        'due_at', (SELECT a.due_at FROM slaq.sla_alarms a WHERE a.tenant = p_tenant AND a.ticket_id = p_ticket)
    );
END
$$;

-- Who is told of a crossing, each person once: the assignee, the board's manager, the escalation managers.
-- p_who: {"assignee": bool, "board_manager": bool, "escalation_manager": bool, "level": int, "channels": [...]}
CREATE FUNCTION slaq.recipients_of(p_ticket slaq.tickets, p_who jsonb)
RETURNS TABLE (user_id text, channels jsonb)
LANGUAGE sql STABLE SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT DISTINCT ON (who.user_id) who.user_id, who.channels
    FROM (
        SELECT 1 AS rank, p_ticket.assigned_to AS user_id, p_who -> 'channels' AS channels
        WHERE (p_who ->> 'assignee')::boolean
        UNION ALL
        SELECT 2, b.manager_user_id, p_who -> 'channels'
        FROM slaq.boards b
        WHERE (p_who ->> 'board_manager')::boolean AND b.tenant = p_ticket.tenant AND b.board_id = p_ticket.board_id
        UNION ALL
        SELECT 3, m.manager_user_id, coalesce(p_who -> 'channels', to_jsonb(m.notify_via))
        FROM slaq.escalation_managers m
        WHERE m.tenant = p_ticket.tenant AND m.board_id = p_ticket.board_id
          AND ((p_who ->> 'escalation_manager')::boolean OR m.escalation_level = (p_who ->> 'level')::integer)
    ) who
    JOIN slaq.users u ON u.tenant = p_ticket.tenant AND u.user_id = who.user_id AND u.is_active
    ORDER BY who.user_id, who.rank;
END;

-- Claim one crossing and tell it: in-app rows, deliveries and their jobs, the application's event, audit.
-- Returns the jobs to enqueue; nothing at all when somebody else has claimed it.
CREATE FUNCTION slaq.claim_crossing(
    p_ticket slaq.tickets, p_crossing jsonb, p_armed_at timestamptz, p_now timestamptz, p_by text
) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = slaq, pg_temp
AS $$
DECLARE
    c slaq.sla_crossings := jsonb_populate_record(NULL::slaq.sla_crossings, p_crossing);
    jobs jsonb := '[]';
    told jsonb := '[]';
    emails jsonb;
BEGIN
    INSERT INTO slaq.sla_crossings (
        tenant, ticket_id, phase, kind, percent, level, crossed_at, armed_at, noticed_at, claimed_by, is_silent, voided_at
    ) VALUES (
        p_ticket.tenant, p_ticket.ticket_id, c.phase, c.kind, c.percent, c.level, c.crossed_at,
        least(coalesce(p_armed_at, p_now), p_now), p_now, p_by, c.is_silent,
        CASE WHEN (p_crossing ->> 'is_voided')::boolean THEN p_now END
    )
    ON CONFLICT (tenant, ticket_id, phase, kind, percent) WHERE voided_at IS NULL DO NOTHING
    RETURNING crossing_id INTO c.crossing_id;
    IF c.crossing_id IS NULL THEN
        RETURN jobs;
    END IF;

    IF NOT c.is_silent AND c.kind <> 'breach' THEN
        WITH recipients AS MATERIALIZED (
            SELECT r.user_id, r.channels FROM slaq.recipients_of(p_ticket, p_crossing -> 'who') r
        ), shown AS (
            INSERT INTO slaq.sla_notifications (tenant, crossing_id, ticket_id, user_id, type, title, message, link, created_at)
            SELECT p_ticket.tenant, c.crossing_id, p_ticket.ticket_id, r.user_id,
                   p_crossing ->> 'type', p_crossing ->> 'title', p_crossing ->> 'message', p_ticket.url, p_now
            FROM recipients r WHERE r.channels ? 'in_app'
        ), mailed AS (
            INSERT INTO slaq.sla_deliveries (tenant, crossing_id, ticket_id, user_id, template, created_at)
            SELECT p_ticket.tenant, c.crossing_id, p_ticket.ticket_id, r.user_id, p_crossing ->> 'template', p_now
            FROM recipients r WHERE r.channels ? 'email'
            RETURNING delivery_id
        )
        SELECT
            (SELECT coalesce(jsonb_agg(jsonb_build_object('user_id', r.user_id, 'channels', r.channels)), '[]') FROM recipients r),
            (SELECT coalesce(jsonb_agg(jsonb_build_object(
                'queue', 'sla-send-email', 'data', jsonb_build_object(
                    'tenant', p_ticket.tenant, 'ticket_id', p_ticket.ticket_id, 'delivery_id', m.delivery_id))), '[]') FROM mailed m)
        INTO told, emails;
        jobs := emails || jsonb_build_array(jsonb_build_object(
            'queue', 'sla-threshold-reached', 'data', jsonb_build_object(
                'event_id', c.crossing_id, 'tenant', p_ticket.tenant, 'ticket_id', p_ticket.ticket_id,
                'phase', c.phase, 'kind', c.kind, 'percent', c.percent, 'level', c.level,
                'crossed_at', c.crossed_at, 'noticed_at', p_now)));
    END IF;

    INSERT INTO slaq.sla_audit_log (tenant, ticket_id, event_type, event_data, created_at)
    VALUES (
        p_ticket.tenant, p_ticket.ticket_id,
        CASE c.kind WHEN 'breach' THEN 'sla_breach' WHEN 'escalation' THEN 'ticket_escalated' ELSE 'notification_sent' END,
        jsonb_strip_nulls(jsonb_build_object(
            'crossing_id', c.crossing_id, 'phase', c.phase, 'percent', c.percent, 'level', c.level, 'crossed_at', c.crossed_at,
            'claimed_by', p_by, 'silent', CASE WHEN c.is_silent THEN true END,
            'recipients', CASE WHEN c.kind <> 'breach' AND NOT c.is_silent THEN told END)),
        p_now
    );
    RETURN jobs;
END
$$;

-- The row that keeps a promise, by its content. A transaction that finds none makes one of its own, so that tickets under
-- the same new promise never wait for each other; the few copies that this leaves differ in the second half of their ids.
CREATE FUNCTION slaq.keep_promise(p_tenant text, p_content text, p_body jsonb) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = slaq, pg_temp
AS $$
DECLARE
    kept text;
BEGIN
    SELECT p.promise_id INTO kept FROM slaq.sla_promises p
    WHERE p.tenant = p_tenant AND p.promise_id BETWEEN p_content || repeat('0', 16) AND p_content || repeat('f', 16)
    LIMIT 1;
    IF NOT FOUND THEN
        INSERT INTO slaq.sla_promises (tenant, promise_id, body)
        VALUES (p_tenant, p_content || lpad(to_hex(pg_current_xact_id()::text::bigint), 16, '0'), p_body)
        RETURNING promise_id INTO kept;
    END IF;
    RETURN kept;
END
$$;

-- Write one settling of a ticket: facts, crossings, columns, audit, jobs, alarm. The caller's transaction is the ticket's.
-- p_expected: the version that was read; NULL when the caller already holds the lock. Returns what became of it:
--   settled   written          locked   somebody holds the ticket          stale   it has changed: read again
-- p_change: {"now", "by", "ticket", "tell", "due_at"} and, where there is any of it, {"facts", "promise", "audit", "void", "revive"}
CREATE FUNCTION slaq.settle_ticket(p_tenant text, p_ticket text, p_expected bigint, p_change jsonb) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = slaq, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    settled_at timestamptz := (p_change ->> 'now')::timestamptz;
    alarm slaq.sla_alarms;
    stored slaq.tickets;
    ticket slaq.tickets;
    crossing jsonb;
    promise text;
    jobs jsonb := '[]';
BEGIN
    PERFORM set_config('slaq.tenant', p_tenant, true);
    IF p_expected IS NULL THEN
        SELECT * INTO alarm FROM slaq.sla_alarms a WHERE a.tenant = p_tenant AND a.ticket_id = p_ticket FOR UPDATE;
    ELSE
        SELECT * INTO alarm FROM slaq.sla_alarms a WHERE a.tenant = p_tenant AND a.ticket_id = p_ticket FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            RETURN 'locked';
        ELSIF alarm.version <> p_expected THEN
            RETURN 'stale';
        END IF;
    END IF;

    SELECT * INTO stored FROM slaq.tickets t WHERE t.tenant = p_tenant AND t.ticket_id = p_ticket;
    ticket := jsonb_populate_record(stored, p_change -> 'ticket');
    IF ticket.sla_policy_id IS DISTINCT FROM stored.sla_policy_id THEN
        ticket.sla_policy_id := ( -- NULL when it was deleted after it was promised
            SELECT p.sla_policy_id FROM slaq.sla_policies p
            WHERE p.tenant = p_tenant AND p.sla_policy_id = ticket.sla_policy_id FOR KEY SHARE
        );
    END IF;
    IF stored IS NULL THEN
        INSERT INTO slaq.tickets SELECT ticket.*;
    ELSIF ticket IS DISTINCT FROM stored THEN
        UPDATE slaq.tickets t SET
            ticket_number = ticket.ticket_number, title = ticket.title, url = ticket.url,
            client_id = ticket.client_id, board_id = ticket.board_id, priority_id = ticket.priority_id,
            status_id = ticket.status_id, assigned_to = ticket.assigned_to, response_state = ticket.response_state,
            entered_at = ticket.entered_at, closed_at = ticket.closed_at, is_closed = ticket.is_closed,
            pinned_policy_id = ticket.pinned_policy_id,
            is_cancelled = ticket.is_cancelled, is_policy_cleared = ticket.is_policy_cleared,
            sla_policy_id = ticket.sla_policy_id, sla_promise_id = ticket.sla_promise_id,
            sla_started_at = ticket.sla_started_at,
            sla_response_due_at = ticket.sla_response_due_at, sla_resolution_due_at = ticket.sla_resolution_due_at,
            sla_response_at_risk_at = ticket.sla_response_at_risk_at,
            sla_resolution_at_risk_at = ticket.sla_resolution_at_risk_at,
            sla_response_at = ticket.sla_response_at, sla_resolution_at = ticket.sla_resolution_at,
            sla_response_met = ticket.sla_response_met, sla_resolution_met = ticket.sla_resolution_met,
            sla_paused_at = ticket.sla_paused_at, sla_pause_reason = ticket.sla_pause_reason,
            sla_total_pause_minutes = ticket.sla_total_pause_minutes,
            escalated = ticket.escalated, escalation_level = ticket.escalation_level, escalated_at = ticket.escalated_at
        WHERE t.tenant = p_tenant AND t.ticket_id = p_ticket;
    END IF;

    IF p_change ? 'facts' THEN
        IF p_change ? 'promise' THEN
            promise := slaq.keep_promise(p_tenant, p_change #>> '{promise,content}', p_change #> '{promise,body}');
        END IF;
        INSERT INTO slaq.sla_facts (tenant, ticket_id, kind, source, at, known_at, change, promise_id, actor)
        SELECT p_tenant, p_ticket, f ->> 'kind', f ->> 'source', (f ->> 'at')::timestamptz, settled_at, alarm.version + 1,
               CASE WHEN f ->> 'kind' IN ('started', 'retargeted') THEN promise END, f ->> 'actor'
        FROM jsonb_array_elements(p_change -> 'facts') WITH ORDINALITY AS listed (f, position)
        ORDER BY position;
    END IF;
    IF p_change ? 'audit' THEN
        INSERT INTO slaq.sla_audit_log (tenant, ticket_id, event_type, event_data, triggered_by, created_at)
        SELECT p_tenant, p_ticket, a ->> 'event_type', a -> 'event_data', a ->> 'triggered_by', settled_at
        FROM jsonb_array_elements(p_change -> 'audit') WITH ORDINALITY AS listed (a, position)
        ORDER BY position;
    END IF;

    IF p_change ? 'void' THEN
        UPDATE slaq.sla_crossings c SET voided_at = settled_at
        WHERE c.tenant = p_tenant AND c.crossing_id IN (SELECT jsonb_array_elements_text(p_change -> 'void')::uuid);
    END IF;
    IF p_change ? 'revive' THEN
        UPDATE slaq.sla_crossings c SET voided_at = NULL
        WHERE c.tenant = p_tenant AND c.crossing_id IN (SELECT jsonb_array_elements_text(p_change -> 'revive')::uuid);
        -- a mail that was dropped because its crossing was voided was never told
        WITH again AS (
            UPDATE slaq.sla_deliveries d SET status = 'pending', attempts = 0, last_error = NULL, settled_at = NULL
            WHERE d.tenant = p_tenant AND d.status = 'dropped'
              AND d.crossing_id IN (SELECT jsonb_array_elements_text(p_change -> 'revive')::uuid)
            RETURNING d.delivery_id
        )
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'queue', 'sla-send-email', 'data', jsonb_build_object(
                'tenant', p_tenant, 'ticket_id', p_ticket, 'delivery_id', again.delivery_id))), '[]')
        INTO jobs FROM again;
    END IF;
    FOR crossing IN SELECT jsonb_array_elements(p_change -> 'tell') LOOP
        jobs := jobs || slaq.claim_crossing(
            ticket, crossing,
            CASE WHEN p_expected IS NULL THEN settled_at ELSE alarm.armed_at END, settled_at, p_change ->> 'by');
    END LOOP;
    IF jobs <> '[]' THEN
        PERFORM slaq.enqueue(jobs);
    END IF;

    UPDATE slaq.sla_alarms a SET
        version = a.version + 1,
        due_at = (p_change ->> 'due_at')::timestamptz,
        armed_at = CASE WHEN p_expected IS NULL THEN settled_at ELSE a.armed_at END,
        lease_until = NULL, retry_at = NULL, failures = 0, last_error = NULL
    WHERE a.tenant = p_tenant AND a.ticket_id = p_ticket;
    RETURN 'settled';
END
$$;

-- Forget a ticket; its audit log stays. Returns whether there was one.
CREATE FUNCTION slaq.forget_ticket(p_tenant text, p_ticket text, p_actor text, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = slaq, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    gone slaq.tickets;
BEGIN
    DELETE FROM slaq.tickets t WHERE t.tenant = p_tenant AND t.ticket_id = p_ticket RETURNING * INTO gone;
    DELETE FROM slaq.sla_alarms a WHERE a.tenant = p_tenant AND a.ticket_id = p_ticket;
    IF gone.ticket_id IS NULL THEN
        RETURN false;
    END IF;
    INSERT INTO slaq.sla_audit_log (tenant, ticket_id, event_type, event_data, triggered_by, created_at)
    VALUES (p_tenant, p_ticket, 'ticket_deleted', jsonb_build_object('ticket_number', gone.ticket_number), p_actor, p_now);
    RETURN true;
END
$$;
