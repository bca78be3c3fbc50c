-- name: open_ticket
SELECT slaq.open_ticket(%(tenant)s, %(ticket)s, %(fields)s::jsonb)

-- name: read_ticket
SELECT slaq.read_ticket(%(tenant)s, %(ticket)s)

-- name: promise_bodies
SELECT slaq.promise_bodies(%(tenant)s, %(ids)s::text[])::text

-- name: settle_ticket
SELECT slaq.settle_ticket(%(tenant)s, %(ticket)s, %(version)s::bigint, %(change)s::jsonb)

-- name: forget_ticket
SELECT slaq.forget_ticket(%(tenant)s, %(ticket)s, %(actor)s, %(now)s)

-- name: lock_ticket
SELECT (slaq.lock_ticket(%(tenant)s, %(ticket)s)).version, clock_timestamp()

-- name: set_tenant
SELECT set_config('slaq.tenant', %(tenant)s, true)

-- name: open_tickets_after
SELECT slaq.open_tickets_after(%(tenant)s, %(after)s, %(limit)s::integer)

-- name: enqueue
SELECT slaq.enqueue(%(jobs)s::jsonb)
