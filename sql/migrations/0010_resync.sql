-- Configuration changes reach the open tickets, whoever makes them and however.
CREATE FUNCTION slaq.configuration_changed() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = slaq, pg_temp
AS $$
BEGIN
    PERFORM slaq.request_resync(coalesce(NEW.tenant, OLD.tenant));
    RETURN NULL;
END
$$;

-- Deferred to the commit, so that a schedule and its entries may be written in any order and one request serves all.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'business_hours_schedules', 'business_hours_entries', 'holidays', 'sla_policies', 'sla_policy_targets',
        'sla_notification_thresholds', 'sla_settings', 'status_sla_pause_config'
    ] LOOP
        EXECUTE format(
            'CREATE CONSTRAINT TRIGGER resync AFTER INSERT OR UPDATE OR DELETE ON slaq.%I
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slaq.configuration_changed()', name);
    END LOOP;
END
$$;
CREATE CONSTRAINT TRIGGER resync AFTER UPDATE ON slaq.clients DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.sla_policy_id IS DISTINCT FROM NEW.sla_policy_id) EXECUTE FUNCTION slaq.configuration_changed();
CREATE CONSTRAINT TRIGGER resync AFTER UPDATE ON slaq.boards DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.sla_policy_id IS DISTINCT FROM NEW.sla_policy_id) EXECUTE FUNCTION slaq.configuration_changed();
CREATE CONSTRAINT TRIGGER resync AFTER UPDATE ON slaq.statuses DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.is_closed IS DISTINCT FROM NEW.is_closed) EXECUTE FUNCTION slaq.configuration_changed();
-- Their removal empties the references of tickets, which may change policy or closing.
CREATE CONSTRAINT TRIGGER resync_removed AFTER DELETE ON slaq.clients DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION slaq.configuration_changed();
CREATE CONSTRAINT TRIGGER resync_removed AFTER DELETE ON slaq.boards DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION slaq.configuration_changed();
CREATE CONSTRAINT TRIGGER resync_removed AFTER DELETE ON slaq.statuses DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION slaq.configuration_changed();

-- A schedule that never opens is refused when it is written, not when somebody's next ticket needs it.
CREATE FUNCTION slaq.check_schedule_opens() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = slaq, pg_temp
AS $$
DECLARE
    owner text := coalesce(NEW.tenant, OLD.tenant);
    closed text;
BEGIN
    PERFORM set_config('slaq.tenant', owner, true); -- at the commit another tenant may be set
    SELECT s.schedule_name INTO closed
    FROM slaq.business_hours_schedules s
    WHERE s.tenant = owner AND NOT s.is_24x7 AND (
        NOT EXISTS (
            SELECT FROM slaq.business_hours_entries e
            WHERE e.tenant = s.tenant AND e.schedule_id = s.schedule_id AND e.is_enabled
        ) OR 366 <= (
            SELECT count(DISTINCT to_char(h.holiday_date, 'MM-DD')) FROM slaq.holidays h
            WHERE h.tenant = s.tenant AND h.is_recurring AND (h.schedule_id IS NULL OR h.schedule_id = s.schedule_id)
        )
    )
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'schedule "%" never opens: give it an enabled entry on a day that is no holiday, or make it 24x7', closed
            USING ERRCODE = 'check_violation', CONSTRAINT = 'schedule_opens';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER schedule_opens AFTER INSERT OR UPDATE ON slaq.business_hours_schedules
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slaq.check_schedule_opens();
CREATE CONSTRAINT TRIGGER schedule_opens AFTER INSERT OR UPDATE OR DELETE ON slaq.business_hours_entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slaq.check_schedule_opens();
CREATE CONSTRAINT TRIGGER schedule_opens AFTER INSERT OR UPDATE ON slaq.holidays
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slaq.check_schedule_opens();

-- The next tickets of a tenant after p_after that its configuration still concerns: open ones.
CREATE FUNCTION slaq.open_tickets_after(p_tenant text, p_after text, p_limit integer) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = slaq, pg_temp
BEGIN ATOMIC
    SELECT t.ticket_id FROM slaq.tickets t
    WHERE t.tenant = p_tenant AND t.sla_resolution_at IS NULL AND t.ticket_id > p_after
      AND (t.sla_started_at IS NOT NULL OR NOT t.is_closed)
    ORDER BY t.ticket_id
    LIMIT p_limit;
END;
