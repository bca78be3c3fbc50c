-- name: tell_workflow
SELECT slaq.tell_workflow(%(tenant)s, %(ticket)s, %(change)s)

-- name: owner
SELECT a.backend FROM slaq.sla_alarms a WHERE a.tenant = %(tenant)s AND a.ticket_id = %(ticket)s

-- name: community_workers
SELECT EXISTS (
    SELECT FROM slaq.sla_worker_health h
    WHERE h.edition = 'community' AND h.checked_at > clock_timestamp() - interval '30 seconds')

-- name: hold_ticket
SELECT slaq.hold_ticket(%(tenant)s, %(ticket)s)

-- name: audit_once
SELECT slaq.audit_once(%(tenant)s, %(ticket)s, %(type)s, %(data)s::jsonb, %(now)s)

-- name: lease_outbox
SELECT slaq.lease_outbox(%(limit)s::integer, %(now)s, %(lease)s)

-- name: acknowledge_outbox
SELECT slaq.acknowledge_outbox(%(sent)s::jsonb, %(now)s)

-- name: postpone_outbox
SELECT slaq.postpone_outbox(%(tenant)s, %(ticket)s, %(now)s, %(wait)s, %(error)s)

-- name: disown_ticket
SELECT slaq.disown_ticket(%(tenant)s, %(ticket)s)

-- name: open_tickets_of
SELECT tenant, ticket_id, workflow_id, is_behind, is_waiting
FROM slaq.open_tickets_of(%(backend)s, %(tenant)s, %(ticket)s, %(limit)s::integer)

-- name: request_run
SELECT slaq.request_run(%(tenant)s, %(ticket)s, %(is_restart)s, %(is_adopted)s, %(now)s)

-- name: report_health
SELECT slaq.report_health(%(worker)s, %(kind)s, %(edition)s, %(is_up)s, %(detail)s, clock_timestamp())

-- name: retire_worker
SELECT slaq.retire_worker(%(worker)s)

-- name: is_temporal_up
SELECT slaq.is_temporal_up()

-- name: outbox_backlog
SELECT waiting, failing, oldest_at FROM slaq.outbox_backlog()
