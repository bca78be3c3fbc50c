-- Applications and workers use the queues through these functions, which own the tables they touch; the helpers behind
-- them are nobody's. Workers may see the tables too.
DO $$
DECLARE
    routine regprocedure;
    public_names text[] := ARRAY[
        'send_job', 'insert_jobs', 'publish_event', 'update_jobs', 'upsert_job', 'fetch_jobs', 'unfetch_jobs', 'complete_jobs',
        'fail_jobs', 'touch_jobs', 'sweep_jobs', 'delete_old_queue_jobs', 'create_queue', 'update_queue', 'delete_queue',
        'list_queues', 'queue_stats', 'find_jobs', 'cancel_jobs', 'resume_jobs', 'retry_jobs', 'delete_jobs', 'blocked_keys',
        'preview_redrive', 'redrive_jobs', 'subscribe_queue', 'unsubscribe_queue', 'schedule_jobs', 'unschedule_jobs',
        'list_schedules', 'fire_schedule'
    ];
BEGIN
    FOR routine IN
        SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'slaq'::regnamespace AND p.proname = ANY (public_names || ARRAY['send_in_slot', 'reopen_job'])
    LOOP
        EXECUTE format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC', routine);
        CONTINUE WHEN routine::text LIKE '%send_in_slot(%' OR routine::text LIKE '%reopen_job(%';
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO slaq_application', routine);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    slaq.queues, slaq.queue_schedules, slaq.queue_subscriptions, slaq.job_slots, slaq.job_outcomes, slaq.job_heartbeats, slaq.jobs_ahead, slaq.queue_upkeep
TO slaq_worker;
GRANT SELECT ON slaq.queue_jobs TO slaq_worker;
