-- Every row belongs to a tenant, and a session sees and writes the rows of its own tenant only. The policies bind the
-- tables' owner too. An unset setting reads as an empty string on a reused connection, hence the nullif.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'tenants', 'users', 'priorities', 'statuses', 'business_hours_schedules', 'business_hours_entries', 'holidays',
        'sla_policies', 'sla_policy_targets', 'sla_notification_thresholds', 'clients', 'boards', 'escalation_managers',
        'sla_settings', 'status_sla_pause_config', 'sla_promises', 'tickets', 'sla_facts', 'sla_alarms', 'sla_crossings',
        'sla_audit_log', 'sla_notifications', 'sla_deliveries'
    ] LOOP
        EXECUTE format('ALTER TABLE slaq.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE slaq.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own_tenant ON slaq.%I
             USING (tenant = nullif(current_setting(''slaq.tenant'', true), ''''))
             WITH CHECK (tenant = nullif(current_setting(''slaq.tenant'', true), ''''))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON slaq.%I TO slaq_application', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['sla_alarms', 'tickets', 'sla_facts', 'sla_crossings', 'sla_promises'] LOOP
        EXECUTE format('CREATE POLICY every_tenant ON slaq.%I TO slaq_timer USING (true)', name);
    END LOOP;
END
$$;
-- What happened stays: the log is written and read, never edited.
REVOKE UPDATE, DELETE ON slaq.sla_audit_log FROM slaq_application;
GRANT SELECT ON slaq.sla_notifications_sent TO slaq_application;
GRANT USAGE ON SCHEMA slaq TO slaq_application;

-- Workers run the queue, whose tables know no tenants; applications reach it through functions only.
GRANT SELECT, INSERT, UPDATE, DELETE ON
    slaq.procrastinate_jobs, slaq.procrastinate_events, slaq.procrastinate_workers, slaq.procrastinate_periodic_defers
TO slaq_worker;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA slaq TO slaq_worker;
