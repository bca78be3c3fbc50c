-- Reading and writing a tenant's configuration. Rows come as JSON, named with the words of the file.

-- name: read_setting
SELECT current_setting('slaq.tenant', true);

-- name: set_tenant
SELECT set_config('slaq.tenant', %(tenant)s, true);

-- name: defer_checks
SET CONSTRAINTS slaq.schedule_opens DEFERRED;

-- name: check_now
SET CONSTRAINTS slaq.schedule_opens IMMEDIATE;

-- name: create_tenant
INSERT INTO slaq.tenants (tenant) VALUES (%(tenant)s) ON CONFLICT DO NOTHING RETURNING tenant;

-- name: lock_tenant
SELECT FROM slaq.tenants WHERE tenant = %(tenant)s FOR NO KEY UPDATE;

-- name: read_tenant
SELECT jsonb_build_object(
    'tenants', (
        SELECT coalesce(jsonb_agg(jsonb_build_object('id', t.tenant, 'name', t.tenant_name)), '[]')
        FROM slaq.tenants t WHERE t.tenant = %(tenant)s
    ),
    'settings', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'pause_on_awaiting_client', s.pause_on_awaiting_client, 'response_state_tracking', s.response_state_tracking
        )), '[]')
        FROM slaq.sla_settings s WHERE s.tenant = %(tenant)s
    ),
    'users', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'id', u.user_id, 'name', u.display_name, 'email', u.email, 'is_active', u.is_active
        ) ORDER BY u.user_id), '[]')
        FROM slaq.users u WHERE u.tenant = %(tenant)s
    ),
    'priorities', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'id', p.priority_id, 'name', p.priority_name, 'itil_level', p.itil_level
        ) ORDER BY p.priority_id), '[]')
        FROM slaq.priorities p WHERE p.tenant = %(tenant)s
    ),
    'statuses', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'id', s.status_id, 'name', s.status_name, 'is_closed', s.is_closed, 'pauses_sla', coalesce(c.pauses_sla, false)
        ) ORDER BY s.status_id), '[]')
        FROM slaq.statuses s
        LEFT JOIN slaq.status_sla_pause_config c ON c.tenant = s.tenant AND c.status_id = s.status_id
        WHERE s.tenant = %(tenant)s
    ),
    'schedules', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'id', s.schedule_id, 'name', s.schedule_name, 'timezone', s.timezone,
            'is_default', s.is_default, 'is_24x7', s.is_24x7
        ) ORDER BY s.schedule_id), '[]')
        FROM slaq.business_hours_schedules s WHERE s.tenant = %(tenant)s
    ),
    'hours', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'schedule', e.schedule_id, 'day', e.day_of_week, 'start', e.start_time, 'end', e.end_time, 'is_enabled', e.is_enabled
        ) ORDER BY e.schedule_id, e.day_of_week, e.start_time), '[]')
        FROM slaq.business_hours_entries e WHERE e.tenant = %(tenant)s
    ),
    'holidays', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'schedule', coalesce(h.schedule_id, ''),
            'date', to_char(h.holiday_date, CASE WHEN h.is_recurring THEN 'MM-DD' ELSE 'YYYY-MM-DD' END),
            'name', h.holiday_name
        ) ORDER BY h.schedule_id, h.holiday_date), '[]')
        FROM slaq.holidays h WHERE h.tenant = %(tenant)s
    ),
    'policies', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'id', p.sla_policy_id, 'name', p.policy_name, 'description', p.description,
            'is_default', p.is_default, 'schedule', p.business_hours_schedule_id
        ) ORDER BY p.sla_policy_id), '[]')
        FROM slaq.sla_policies p WHERE p.tenant = %(tenant)s
    ),
    'targets', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'policy', t.sla_policy_id, 'priority', t.priority_id,
            'response', t.response_time_minutes, 'resolution', t.resolution_time_minutes,
            'escalation', jsonb_build_array(t.escalation_1_percent, t.escalation_2_percent, t.escalation_3_percent),
            'is_24x7', t.is_24x7
        ) ORDER BY t.sla_policy_id, t.priority_id), '[]')
        FROM slaq.sla_policy_targets t WHERE t.tenant = %(tenant)s
    ),
    'thresholds', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'policy', n.sla_policy_id, 'percent', n.threshold_percent, 'type', n.notification_type,
            'notify', array_remove(ARRAY[
                CASE WHEN n.notify_assignee THEN 'assignee' END,
                CASE WHEN n.notify_board_manager THEN 'board_manager' END,
                CASE WHEN n.notify_escalation_manager THEN 'escalation_manager' END
            ], NULL),
            'channels', n.channels
        ) ORDER BY n.sla_policy_id, n.threshold_percent), '[]')
        FROM slaq.sla_notification_thresholds n WHERE n.tenant = %(tenant)s
    ),
    'clients', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'id', c.client_id, 'name', c.client_name, 'policy', c.sla_policy_id
        ) ORDER BY c.client_id), '[]')
        FROM slaq.clients c WHERE c.tenant = %(tenant)s
    ),
    'boards', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'id', b.board_id, 'name', b.board_name, 'manager', b.manager_user_id, 'policy', b.sla_policy_id
        ) ORDER BY b.board_id), '[]')
        FROM slaq.boards b WHERE b.tenant = %(tenant)s
    ),
    'escalation_managers', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'board', m.board_id, 'level', m.escalation_level, 'manager', m.manager_user_id, 'channels', m.notify_via
        ) ORDER BY m.board_id, m.escalation_level), '[]')
        FROM slaq.escalation_managers m WHERE m.tenant = %(tenant)s
    )
)::text;

-- name: release_schedules
UPDATE slaq.business_hours_schedules s SET is_default = false
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (id text)
WHERE s.tenant = %(tenant)s AND s.schedule_id = r.id;

-- name: release_policies
UPDATE slaq.sla_policies p SET is_default = false, policy_name = gen_random_uuid()::text
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (id text)
WHERE p.tenant = %(tenant)s AND p.sla_policy_id = r.id;

-- name: write_tenants
UPDATE slaq.tenants t SET tenant_name = r.name
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (id text, name text)
WHERE t.tenant = %(tenant)s AND t.tenant = r.id;

-- name: write_settings
INSERT INTO slaq.sla_settings (tenant, pause_on_awaiting_client, response_state_tracking)
SELECT %(tenant)s, r.pause_on_awaiting_client, r.response_state_tracking
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (pause_on_awaiting_client boolean, response_state_tracking boolean)
ON CONFLICT (tenant) DO UPDATE SET
    pause_on_awaiting_client = excluded.pause_on_awaiting_client,
    response_state_tracking = excluded.response_state_tracking,
    updated_at = clock_timestamp();

-- name: write_users
INSERT INTO slaq.users (tenant, user_id, display_name, email, is_active)
SELECT %(tenant)s, r.id, r.name, r.email, r.is_active
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (id text, name text, email text, is_active boolean)
ON CONFLICT (tenant, user_id) DO UPDATE SET
    display_name = excluded.display_name, email = excluded.email, is_active = excluded.is_active;

-- name: write_priorities
INSERT INTO slaq.priorities (tenant, priority_id, priority_name, itil_level)
SELECT %(tenant)s, r.id, r.name, r.itil_level
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (id text, name text, itil_level integer)
ON CONFLICT (tenant, priority_id) DO UPDATE SET
    priority_name = excluded.priority_name, itil_level = excluded.itil_level;

-- name: write_statuses
-- A missing row of the pause table means "does not pause", so none is made for that.
WITH given AS (
    SELECT r.* FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (id text, name text, is_closed boolean, pauses_sla boolean)
), status AS (
    INSERT INTO slaq.statuses (tenant, status_id, status_name, is_closed)
    SELECT %(tenant)s, r.id, r.name, r.is_closed FROM given r
    ON CONFLICT (tenant, status_id) DO UPDATE SET status_name = excluded.status_name, is_closed = excluded.is_closed
), resumed AS (
    DELETE FROM slaq.status_sla_pause_config c USING given r
    WHERE c.tenant = %(tenant)s AND c.status_id = r.id AND c.pauses_sla AND NOT r.pauses_sla
)
INSERT INTO slaq.status_sla_pause_config AS c (tenant, status_id, pauses_sla)
SELECT %(tenant)s, r.id, true FROM given r WHERE r.pauses_sla
ON CONFLICT (tenant, status_id) DO UPDATE SET pauses_sla = true WHERE NOT c.pauses_sla;

-- name: write_schedules
INSERT INTO slaq.business_hours_schedules (tenant, schedule_id, schedule_name, timezone, is_default, is_24x7)
SELECT %(tenant)s, r.id, r.name, r.timezone, r.is_default, r.is_24x7
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (id text, name text, timezone text, is_default boolean, is_24x7 boolean)
ON CONFLICT (tenant, schedule_id) DO UPDATE SET
    schedule_name = excluded.schedule_name, timezone = excluded.timezone,
    is_default = excluded.is_default, is_24x7 = excluded.is_24x7, updated_at = clock_timestamp();

-- name: write_hours
INSERT INTO slaq.business_hours_entries (tenant, schedule_id, day_of_week, start_time, end_time, is_enabled)
SELECT %(tenant)s, r.schedule, r.day, r.start, r."end", r.is_enabled
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (schedule text, day integer, start time, "end" time, is_enabled boolean)
ON CONFLICT (tenant, schedule_id, day_of_week, start_time) DO UPDATE SET
    end_time = excluded.end_time, is_enabled = excluded.is_enabled;

-- name: write_holidays
-- A holiday of every year may be stored in any year; a new one goes into a leap year.
WITH given AS (
    SELECT nullif(r.schedule, '') AS schedule_id, r.date, r.name
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (schedule text, date text, name text)
), renamed AS (
    UPDATE slaq.holidays h SET holiday_name = r.name
    FROM given r
    WHERE h.tenant = %(tenant)s AND h.schedule_id IS NOT DISTINCT FROM r.schedule_id
        AND to_char(h.holiday_date, CASE WHEN h.is_recurring THEN 'MM-DD' ELSE 'YYYY-MM-DD' END) = r.date
    RETURNING r.schedule_id, r.date
)
INSERT INTO slaq.holidays (tenant, schedule_id, holiday_name, holiday_date, is_recurring)
SELECT %(tenant)s, r.schedule_id, r.name,
       (CASE WHEN length(r.date) = 5 THEN '2000-' || r.date ELSE r.date END)::date, length(r.date) = 5
FROM given r
WHERE NOT EXISTS (
    SELECT FROM renamed h WHERE h.schedule_id IS NOT DISTINCT FROM r.schedule_id AND h.date = r.date
);

-- name: write_policies
INSERT INTO slaq.sla_policies (tenant, sla_policy_id, policy_name, description, is_default, business_hours_schedule_id)
SELECT %(tenant)s, r.id, r.name, r.description, r.is_default, r.schedule
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (id text, name text, description text, is_default boolean, schedule text)
ON CONFLICT (tenant, sla_policy_id) DO UPDATE SET
    policy_name = excluded.policy_name, description = excluded.description, is_default = excluded.is_default,
    business_hours_schedule_id = excluded.business_hours_schedule_id, updated_at = clock_timestamp();

-- name: write_targets
INSERT INTO slaq.sla_policy_targets (
    tenant, sla_policy_id, priority_id, response_time_minutes, resolution_time_minutes,
    escalation_1_percent, escalation_2_percent, escalation_3_percent, is_24x7
)
SELECT %(tenant)s, r.policy, r.priority, r.response, r.resolution,
       (r.escalation ->> 0)::integer, (r.escalation ->> 1)::integer, (r.escalation ->> 2)::integer, r.is_24x7
FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS r (policy text, priority text, response integer, resolution integer, escalation jsonb, is_24x7 boolean)
ON CONFLICT (tenant, sla_policy_id, priority_id) DO UPDATE SET
    response_time_minutes = excluded.response_time_minutes, resolution_time_minutes = excluded.resolution_time_minutes,
    escalation_1_percent = excluded.escalation_1_percent, escalation_2_percent = excluded.escalation_2_percent,
    escalation_3_percent = excluded.escalation_3_percent, is_24x7 = excluded.is_24x7, updated_at = clock_timestamp();

-- name: write_thresholds
INSERT INTO slaq.sla_notification_thresholds (
    tenant, sla_policy_id, threshold_percent, notification_type,
    notify_assignee, notify_board_manager, notify_escalation_manager, channels
)
SELECT %(tenant)s, r.policy, r.percent, r.type,
       'assignee' = ANY (r.notify), 'board_manager' = ANY (r.notify), 'escalation_manager' = ANY (r.notify), r.channels
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (policy text, percent integer, type text, notify text[], channels text[])
ON CONFLICT (tenant, sla_policy_id, threshold_percent) DO UPDATE SET
    notification_type = excluded.notification_type, notify_assignee = excluded.notify_assignee,
    notify_board_manager = excluded.notify_board_manager,
    notify_escalation_manager = excluded.notify_escalation_manager, channels = excluded.channels;

-- name: write_clients
INSERT INTO slaq.clients (tenant, client_id, client_name, sla_policy_id)
SELECT %(tenant)s, r.id, r.name, r.policy
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (id text, name text, policy text)
ON CONFLICT (tenant, client_id) DO UPDATE SET
    client_name = excluded.client_name, sla_policy_id = excluded.sla_policy_id;

-- name: write_boards
INSERT INTO slaq.boards (tenant, board_id, board_name, manager_user_id, sla_policy_id)
SELECT %(tenant)s, r.id, r.name, r.manager, r.policy
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (id text, name text, manager text, policy text)
ON CONFLICT (tenant, board_id) DO UPDATE SET
    board_name = excluded.board_name, manager_user_id = excluded.manager_user_id, sla_policy_id = excluded.sla_policy_id;

-- name: write_escalation_managers
INSERT INTO slaq.escalation_managers (tenant, board_id, escalation_level, manager_user_id, notify_via)
SELECT %(tenant)s, r.board, r.level, r.manager, r.channels
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (board text, level integer, manager text, channels text[])
ON CONFLICT (tenant, board_id, escalation_level) DO UPDATE SET
    manager_user_id = excluded.manager_user_id, notify_via = excluded.notify_via, updated_at = clock_timestamp();

-- name: delete_escalation_managers
DELETE FROM slaq.escalation_managers m
USING jsonb_to_recordset(%(rows)s::jsonb) AS r (board text, level integer)
WHERE m.tenant = %(tenant)s AND m.board_id = r.board AND m.escalation_level = r.level;

-- name: delete_boards
DELETE FROM slaq.boards b USING jsonb_to_recordset(%(rows)s::jsonb) AS r (id text)
WHERE b.tenant = %(tenant)s AND b.board_id = r.id;

-- name: delete_clients
DELETE FROM slaq.clients c USING jsonb_to_recordset(%(rows)s::jsonb) AS r (id text)
WHERE c.tenant = %(tenant)s AND c.client_id = r.id;

-- name: delete_thresholds
DELETE FROM slaq.sla_notification_thresholds n
USING jsonb_to_recordset(%(rows)s::jsonb) AS r (policy text, percent integer)
WHERE n.tenant = %(tenant)s AND n.sla_policy_id = r.policy AND n.threshold_percent = r.percent;

-- name: delete_targets
DELETE FROM slaq.sla_policy_targets t
USING jsonb_to_recordset(%(rows)s::jsonb) AS r (policy text, priority text)
WHERE t.tenant = %(tenant)s AND t.sla_policy_id = r.policy AND t.priority_id = r.priority;

-- name: delete_policies
DELETE FROM slaq.sla_policies p USING jsonb_to_recordset(%(rows)s::jsonb) AS r (id text)
WHERE p.tenant = %(tenant)s AND p.sla_policy_id = r.id;

-- name: delete_holidays
DELETE FROM slaq.holidays h
USING jsonb_to_recordset(%(rows)s::jsonb) AS r (schedule text, date text)
WHERE h.tenant = %(tenant)s AND h.schedule_id IS NOT DISTINCT FROM nullif(r.schedule, '')
    AND to_char(h.holiday_date, CASE WHEN h.is_recurring THEN 'MM-DD' ELSE 'YYYY-MM-DD' END) = r.date;

-- name: delete_hours
DELETE FROM slaq.business_hours_entries e
USING jsonb_to_recordset(%(rows)s::jsonb) AS r (schedule text, day integer, start time)
WHERE e.tenant = %(tenant)s AND e.schedule_id = r.schedule AND e.day_of_week = r.day AND e.start_time = r.start;

-- name: delete_schedules
DELETE FROM slaq.business_hours_schedules s USING jsonb_to_recordset(%(rows)s::jsonb) AS r (id text)
WHERE s.tenant = %(tenant)s AND s.schedule_id = r.id;

-- name: delete_statuses
DELETE FROM slaq.statuses s USING jsonb_to_recordset(%(rows)s::jsonb) AS r (id text)
WHERE s.tenant = %(tenant)s AND s.status_id = r.id;

-- name: delete_priorities
DELETE FROM slaq.priorities p USING jsonb_to_recordset(%(rows)s::jsonb) AS r (id text)
WHERE p.tenant = %(tenant)s AND p.priority_id = r.id;

-- name: delete_users
DELETE FROM slaq.users u USING jsonb_to_recordset(%(rows)s::jsonb) AS r (id text)
WHERE u.tenant = %(tenant)s AND u.user_id = r.id;
