-- name: begin
SELECT set_config('slaq.tenant', %(tenant)s, true), clock_timestamp()

-- name: load
-- Columns in the order of Delivery's fields, from status to manager_levels; then the ticket's promise.
SELECT d.status, d.attempts, d.crossing_id, d.ticket_id, d.user_id, d.template,
       c.phase, c.percent, c.level, c.voided_at IS NOT NULL,
       u.display_name, u.email, u.is_active,
       t.ticket_number, t.title, t.url, client.client_name, priority.priority_name, policy.policy_name, board.board_name,
       CASE c.phase WHEN 'response' THEN t.sla_response_due_at ELSE t.sla_resolution_due_at END,
       CASE c.phase WHEN 'response' THEN t.sla_response_at ELSE t.sla_resolution_at END,
       CASE c.phase WHEN 'response' THEN t.sla_response_met ELSE t.sla_resolution_met END,
       t.sla_paused_at,
       coalesce(t.assigned_to = d.user_id, false), coalesce(board.manager_user_id = d.user_id, false),
       ARRAY(
           SELECT m.escalation_level FROM slaq.escalation_managers m
           WHERE m.tenant = t.tenant AND m.board_id = t.board_id AND m.manager_user_id = d.user_id
           ORDER BY m.escalation_level
       ),
       promise.promise_id, promise.body
FROM slaq.sla_deliveries d
JOIN slaq.sla_crossings c ON c.tenant = d.tenant AND c.crossing_id = d.crossing_id
JOIN slaq.tickets t ON t.tenant = c.tenant AND t.ticket_id = c.ticket_id
JOIN slaq.users u ON u.tenant = d.tenant AND u.user_id = d.user_id
LEFT JOIN slaq.clients client ON client.tenant = t.tenant AND client.client_id = t.client_id
LEFT JOIN slaq.priorities priority ON priority.tenant = t.tenant AND priority.priority_id = t.priority_id
LEFT JOIN slaq.sla_policies policy ON policy.tenant = t.tenant AND policy.sla_policy_id = t.sla_policy_id
LEFT JOIN slaq.boards board ON board.tenant = t.tenant AND board.board_id = t.board_id
LEFT JOIN slaq.sla_promises promise ON promise.tenant = t.tenant AND promise.promise_id = t.sla_promise_id
WHERE d.tenant = %(tenant)s AND d.delivery_id = %(delivery)s::uuid

-- name: mark
-- What became of a try; a status of pending: it failed and is tried again. Of two workers at once, the one that sent it is right.
WITH marked AS (
    UPDATE slaq.sla_deliveries d SET
        status = %(status)s,
        attempts = d.attempts + %(tries)s::integer,
        last_error = %(error)s,
        settled_at = CASE WHEN %(status)s <> 'pending' THEN %(now)s::timestamptz END
    WHERE d.tenant = %(tenant)s AND d.delivery_id = %(delivery)s::uuid
      AND d.status <> 'sent' AND (d.status = 'pending' OR %(status)s = 'sent')
    RETURNING d.*
)
INSERT INTO slaq.sla_audit_log (tenant, ticket_id, event_type, event_data, created_at)
SELECT m.tenant, m.ticket_id, %(event)s, jsonb_strip_nulls(jsonb_build_object(
           'delivery_id', m.delivery_id, 'crossing_id', m.crossing_id, 'user_id', m.user_id, 'template', m.template,
           'attempts', m.attempts, 'error', m.last_error)), %(now)s
FROM marked m

-- name: note_gone
-- The delivery of a ticket or a recipient that was deleted has gone with it.
INSERT INTO slaq.sla_audit_log (tenant, ticket_id, event_type, event_data, created_at)
VALUES (%(tenant)s, %(ticket)s, 'email_dropped',
        jsonb_build_object('delivery_id', %(delivery)s::uuid, 'error', %(error)s::text), %(now)s)

-- name: list
SELECT d.delivery_id, d.ticket_id, t.ticket_number, d.user_id, u.email, d.template, c.phase, c.percent,
       d.status, d.attempts, d.last_error, d.created_at, d.settled_at
FROM slaq.sla_deliveries d
JOIN slaq.sla_crossings c ON c.tenant = d.tenant AND c.crossing_id = d.crossing_id
JOIN slaq.tickets t ON t.tenant = c.tenant AND t.ticket_id = c.ticket_id
JOIN slaq.users u ON u.tenant = d.tenant AND u.user_id = d.user_id
WHERE d.tenant = %(tenant)s AND (%(status)s::text IS NULL OR d.status = %(status)s)
ORDER BY d.created_at DESC, d.delivery_id
LIMIT %(limit)s::integer

-- name: resend
-- Back to pending, with a job each; of one delivery, whatever became of it unless it was sent, or of all that are dead.
WITH again AS (
    UPDATE slaq.sla_deliveries d SET status = 'pending', attempts = 0, last_error = NULL, settled_at = NULL
    WHERE d.tenant = %(tenant)s
      AND CASE WHEN %(delivery)s::uuid IS NULL THEN d.status = 'dead'
               ELSE d.delivery_id = %(delivery)s::uuid AND d.status <> 'sent' END
    RETURNING d.*
), noted AS (
    INSERT INTO slaq.sla_audit_log (tenant, ticket_id, event_type, event_data, triggered_by, created_at)
    SELECT a.tenant, a.ticket_id, 'email_resent',
           jsonb_build_object('delivery_id', a.delivery_id, 'crossing_id', a.crossing_id, 'user_id', a.user_id), %(actor)s, %(now)s
    FROM again a
)
SELECT count(*), slaq.enqueue(coalesce(jsonb_agg(jsonb_build_object(
           'queue', 'sla-send-email', 'data', jsonb_build_object(
               'tenant', a.tenant, 'ticket_id', a.ticket_id, 'delivery_id', a.delivery_id)) ORDER BY a.created_at), '[]'))
FROM again a
