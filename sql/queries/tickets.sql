-- name: open_ticket
SELECT slaq.open_ticket(%(tenant)s, %(ticket)s, %(fields)s::pg_catalog.jsonb)

-- name: read_ticket
SELECT slaq.read_ticket(%(tenant)s, %(ticket)s)

-- name: promise_bodies
SELECT slaq.promise_bodies(%(tenant)s, %(ids)s::pg_catalog.text[])::pg_catalog.text

-- name: settle_ticket
SELECT slaq.settle_ticket(%(tenant)s, %(ticket)s, %(version)s::pg_catalog.int8, %(change)s::pg_catalog.jsonb)

-- name: forget_ticket
SELECT slaq.forget_ticket(%(tenant)s, %(ticket)s, %(actor)s, %(now)s)

-- name: set_tenant
SELECT pg_catalog.set_config('slaq.tenant', %(tenant)s, true)

-- name: open_tickets_after
SELECT slaq.open_tickets_after(%(tenant)s, %(after)s, %(limit)s::pg_catalog.int4)

-- name: enqueue
SELECT slaq.enqueue(%(jobs)s::pg_catalog.jsonb)
