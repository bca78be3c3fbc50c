-- The promise that a ticket's policy, priority and schedule make today, as one document.

-- Policy: the one set by hand, else the client's, else the board's, else the tenant's default.
CREATE FUNCTION slaq.policy_of(p_tenant text, p_client text, p_board text, p_pinned text) RETURNS text
LANGUAGE sql STABLE SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT coalesce(
        p_pinned,
        (SELECT c.sla_policy_id FROM slaq.clients c WHERE c.tenant = p_tenant AND c.client_id = p_client),
        (SELECT b.sla_policy_id FROM slaq.boards b WHERE b.tenant = p_tenant AND b.board_id = p_board),
        (SELECT p.sla_policy_id FROM slaq.sla_policies p WHERE p.tenant = p_tenant AND p.is_default)
    );
END;

CREATE FUNCTION slaq.schedule_body(p_tenant text, p_schedule text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT CASE WHEN s.is_24x7 THEN NULL ELSE jsonb_build_object(
        'schedule_id', s.schedule_id,
        'schedule_name', s.schedule_name,
        'timezone', s.timezone,
        'entries', (
            SELECT coalesce(jsonb_agg(jsonb_build_array(e.day_of_week, e.start_time::text, e.end_time::text)
                            ORDER BY e.day_of_week, e.start_time), '[]')
            FROM slaq.business_hours_entries e
            WHERE e.tenant = s.tenant AND e.schedule_id = s.schedule_id AND e.is_enabled
        ),
        'holidays', (
            SELECT coalesce(jsonb_agg(jsonb_build_array(to_char(h.holiday_date, 'YYYY-MM-DD'), h.is_recurring, h.holiday_name)
                            ORDER BY h.holiday_date, h.is_recurring, h.schedule_id NULLS FIRST), '[]')
            FROM slaq.holidays h
            WHERE h.tenant = s.tenant AND (h.schedule_id IS NULL OR h.schedule_id = s.schedule_id)
        )
    ) END
    FROM slaq.business_hours_schedules s
    WHERE s.tenant = p_tenant AND s.schedule_id = p_schedule;
END;

-- A schedule of NULL counts around the clock. Schedule: 24x7 target, else the policy's, else the tenant's default, else 24x7.
CREATE FUNCTION slaq.promise_body(p_tenant text, p_policy text, p_priority text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT jsonb_build_object(
        'policy_id', p.sla_policy_id,
        'policy_name', p.policy_name,
        'response_minutes', t.response_time_minutes,
        'resolution_minutes', t.resolution_time_minutes,
        'escalations', jsonb_path_query_array(
            jsonb_build_array(
                jsonb_build_array(1, t.escalation_1_percent),
                jsonb_build_array(2, t.escalation_2_percent),
                jsonb_build_array(3, t.escalation_3_percent)
            ), 'strict $[*] ? (@[1] != null)'),
        'thresholds', (
            SELECT coalesce(jsonb_agg(jsonb_build_object(
                'percent', n.threshold_percent,
                'notification_type', n.notification_type,
                'notify_assignee', n.notify_assignee,
                'notify_board_manager', n.notify_board_manager,
                'notify_escalation_manager', n.notify_escalation_manager,
                'channels', to_jsonb(n.channels)
            ) ORDER BY n.threshold_percent), '[]')
            FROM slaq.sla_notification_thresholds n
            WHERE n.tenant = p.tenant AND n.sla_policy_id = p.sla_policy_id
        ),
        'schedule', CASE WHEN NOT coalesce(t.is_24x7, true) THEN slaq.schedule_body(p.tenant, coalesce(
            p.business_hours_schedule_id,
            (SELECT s.schedule_id FROM slaq.business_hours_schedules s WHERE s.tenant = p.tenant AND s.is_default)
        )) END
    )
    FROM slaq.sla_policies p
    LEFT JOIN slaq.sla_policy_targets t
        ON t.tenant = p.tenant AND t.sla_policy_id = p.sla_policy_id AND t.priority_id = p_priority
    WHERE p.tenant = p_tenant AND p.sla_policy_id = p_policy;
END;
