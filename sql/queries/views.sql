-- name: ticket_page
SELECT jsonb_build_object(
    'ticket', (
        SELECT to_jsonb(t) || jsonb_build_object(
            'policy_name', p.policy_name, 'client_name', c.client_name, 'board_name', b.board_name,
            'priority_name', r.priority_name, 'status_name', s.status_name, 'assignee', u.display_name)
        FROM slaq.tickets t
        LEFT JOIN slaq.sla_policies p ON p.tenant = t.tenant AND p.sla_policy_id = t.sla_policy_id
        LEFT JOIN slaq.clients c ON c.tenant = t.tenant AND c.client_id = t.client_id
        LEFT JOIN slaq.boards b ON b.tenant = t.tenant AND b.board_id = t.board_id
        LEFT JOIN slaq.priorities r ON r.tenant = t.tenant AND r.priority_id = t.priority_id
        LEFT JOIN slaq.statuses s ON s.tenant = t.tenant AND s.status_id = t.status_id
        LEFT JOIN slaq.users u ON u.tenant = t.tenant AND u.user_id = t.assigned_to
        WHERE t.tenant = %(tenant)s AND t.ticket_id = %(ticket)s
    ),
    'alarm', (SELECT to_jsonb(a) FROM slaq.sla_alarms a WHERE a.tenant = %(tenant)s AND a.ticket_id = %(ticket)s),
    'facts', (
        SELECT coalesce(jsonb_agg(to_jsonb(f) ORDER BY f.fact_id), '[]')
        FROM slaq.sla_facts f WHERE f.tenant = %(tenant)s AND f.ticket_id = %(ticket)s
    ),
    'crossings', (
        SELECT coalesce(jsonb_agg(to_jsonb(x) ORDER BY x.crossed_at, x.phase, x.kind, x.percent), '[]')
        FROM slaq.sla_crossings x WHERE x.tenant = %(tenant)s AND x.ticket_id = %(ticket)s
    ),
    'notifications', (
        SELECT coalesce(jsonb_agg(to_jsonb(n) ORDER BY n.created_at, n.user_id), '[]')
        FROM slaq.sla_notifications n WHERE n.tenant = %(tenant)s AND n.ticket_id = %(ticket)s
    ),
    'deliveries', (
        SELECT coalesce(jsonb_agg(to_jsonb(d) ORDER BY d.created_at, d.user_id), '[]')
        FROM slaq.sla_deliveries d WHERE d.tenant = %(tenant)s AND d.ticket_id = %(ticket)s
    ),
    'audit', (
        SELECT coalesce(jsonb_agg(to_jsonb(l) ORDER BY l.log_id), '[]')
        FROM slaq.sla_audit_log l WHERE l.tenant = %(tenant)s AND l.ticket_id = %(ticket)s
    )
)::text

-- name: tickets_at_risk
SELECT t.ticket_id FROM slaq.tickets t
WHERE t.tenant = %(tenant)s AND t.sla_resolution_at IS NULL AND t.sla_paused_at IS NULL AND (
    (t.sla_response_at IS NULL AND t.sla_response_at_risk_at <= %(now)s AND t.sla_response_due_at > %(now)s)
    OR (t.sla_resolution_at_risk_at <= %(now)s AND t.sla_resolution_due_at > %(now)s)
)
ORDER BY least(t.sla_response_due_at, t.sla_resolution_due_at)
LIMIT %(limit)s::integer

-- name: tickets_breached
SELECT t.ticket_id FROM slaq.tickets t
WHERE t.tenant = %(tenant)s AND (t.sla_response_met = false OR t.sla_resolution_met = false)
ORDER BY least(t.sla_response_due_at, t.sla_resolution_due_at) DESC
LIMIT %(limit)s::integer

-- name: tickets_paused
SELECT t.ticket_id FROM slaq.tickets t
WHERE t.tenant = %(tenant)s AND t.sla_resolution_at IS NULL AND t.sla_paused_at IS NOT NULL
ORDER BY t.sla_paused_at
LIMIT %(limit)s::integer

-- name: tickets_open
SELECT t.ticket_id FROM slaq.tickets t
WHERE t.tenant = %(tenant)s AND t.sla_resolution_at IS NULL
ORDER BY least(t.sla_response_due_at, t.sla_resolution_due_at) NULLS LAST
LIMIT %(limit)s::integer
