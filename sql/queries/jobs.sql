-- The verbs of slaq.jobs: one function call each, so that each is atomic on any connection.

-- name: create_queue
SELECT slaq.create_queue(%(name)s, %(policy)s, %(settings)s)

-- name: update_queue
SELECT slaq.update_queue(%(name)s, %(settings)s)

-- name: delete_queue
SELECT slaq.delete_queue(%(name)s)

-- name: list_queues
SELECT * FROM slaq.list_queues(%(name)s)

-- name: queue_stats
SELECT * FROM slaq.queue_stats(%(name)s)

-- name: send
SELECT slaq.send_job(%(queue)s, %(data)s, %(options)s)

-- name: insert
SELECT slaq.insert_jobs(%(queue)s, %(jobs)s)

-- name: publish
SELECT slaq.publish_event(%(event)s, %(data)s, %(options)s)

-- name: update
SELECT slaq.update_jobs(%(queue)s, %(selector)s, %(changes)s)

-- name: upsert
SELECT slaq.upsert_job(%(queue)s, %(data)s, %(options)s)

-- name: fetch
SELECT * FROM slaq.fetch_jobs(
    %(queue)s, %(limit)s::integer, %(worker)s::bigint, %(groups)s, %(least)s::integer, %(most)s::integer, %(early)s::boolean,
    %(ahead)s::integer
)

-- name: note_ahead
SELECT slaq.note_ahead(%(worker)s::bigint, %(ids)s::bigint[])

-- name: unfetch
SELECT slaq.unfetch_jobs(%(worker)s::bigint, %(ids)s::bigint[])

-- name: complete
SELECT slaq.complete_jobs(%(queue)s, %(ids)s::bigint[], %(attempts)s::integer[], %(outputs)s::jsonb[], %(queued)s::boolean)

-- name: fail
SELECT slaq.fail_jobs(
    %(queue)s, %(ids)s::bigint[], %(attempts)s::integer[], %(outputs)s::jsonb[], %(final)s::boolean[], %(retry_in)s::double precision[]
)

-- name: touch
SELECT slaq.touch_jobs(%(queue)s, %(ids)s::bigint[], %(attempts)s::integer[])

-- name: cancel
SELECT slaq.cancel_jobs(%(queue)s, %(ids)s::bigint[])

-- name: resume
SELECT slaq.resume_jobs(%(queue)s, %(ids)s::bigint[])

-- name: retry
SELECT slaq.retry_jobs(%(queue)s, %(ids)s::bigint[])

-- name: delete
SELECT slaq.delete_jobs(%(queue)s, %(ids)s::bigint[], %(states)s::text[])

-- name: find
SELECT * FROM slaq.find_jobs(%(queue)s, %(filter)s, %(limit)s::integer)

-- name: blocked_keys
SELECT slaq.blocked_keys(%(queue)s)

-- name: preview_redrive
SELECT * FROM slaq.preview_redrive(%(queue)s, %(filter)s, %(limit)s::integer)

-- name: redrive
SELECT slaq.redrive_jobs(%(queue)s, %(filter)s, %(limit)s::integer)

-- name: subscribe
SELECT slaq.subscribe_queue(%(event)s, %(queue)s)

-- name: unsubscribe
SELECT slaq.unsubscribe_queue(%(event)s, %(queue)s)

-- name: schedule
SELECT slaq.schedule_jobs(%(queue)s, %(key)s, %(cron)s, %(zone)s, %(missed)s, %(data)s, %(options)s)

-- name: unschedule
SELECT slaq.unschedule_jobs(%(queue)s, %(key)s)

-- name: list_schedules
SELECT queue, key, cron, zone, missed, data, options, last_tick, created_at FROM slaq.list_schedules(%(queue)s)

-- name: fire
SELECT slaq.fire_schedule(%(queue)s, %(key)s, %(tick)s)

-- name: sweep
SELECT slaq.sweep_jobs(%(stale)s)

-- name: delete_old
SELECT slaq.delete_old_queue_jobs(%(every)s)

-- name: now
SELECT clock_timestamp()

-- name: savepoint
SAVEPOINT slaq_job

-- name: release
RELEASE SAVEPOINT slaq_job

-- name: rollback
ROLLBACK TO SAVEPOINT slaq_job

-- name: has_queues
SELECT to_regprocedure(%(function)s) IS NOT NULL
