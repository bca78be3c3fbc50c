-- name: now
SELECT clock_timestamp()

-- name: lease_due
SELECT slaq.lease_due(%(limit)s::integer, %(now)s, %(lease)s, %(grace)s)

-- name: next_wake
SELECT is_due, wake_at FROM slaq.next_wake(%(now)s)

-- name: promise_bodies
SELECT slaq.promise_bodies_of_all(%(wanted)s::jsonb)::text

-- name: postpone
SELECT slaq.postpone_alarm(%(tenant)s, %(ticket)s, %(version)s::bigint, %(now)s, %(error)s)

-- name: backlog
SELECT armed, due, failing, oldest_due_at FROM slaq.timer_backlog(%(now)s)

-- name: may_work
SELECT count(*) > 0, coalesce(bool_or(has_function_privilege(p.oid, 'EXECUTE')), false), current_user::text
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = %(schema)s AND p.proname = 'next_wake'
