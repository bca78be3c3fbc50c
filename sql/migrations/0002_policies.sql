-- What is promised: schedules, policies, targets, thresholds, and who is told.
CREATE TABLE slaq.business_hours_schedules (
    tenant text NOT NULL REFERENCES slaq.tenants,
    schedule_id text NOT NULL DEFAULT gen_random_uuid()::text,
    schedule_name text NOT NULL CHECK (schedule_name <> ''),
    timezone text NOT NULL DEFAULT 'UTC' CHECK (pg_catalog.timezone(timezone, timestamptz 'epoch') IS NOT NULL),
    is_default boolean NOT NULL DEFAULT false,
    is_24x7 boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, schedule_id)
);
CREATE UNIQUE INDEX business_hours_schedules_one_default ON slaq.business_hours_schedules (tenant) WHERE is_default;

CREATE TABLE slaq.business_hours_entries (
    tenant text NOT NULL,
    entry_id text NOT NULL DEFAULT gen_random_uuid()::text,
    schedule_id text NOT NULL,
    day_of_week integer NOT NULL CHECK (day_of_week BETWEEN 0 AND 6),
    start_time time NOT NULL CHECK (start_time < '24:00'),
    end_time time NOT NULL,
    is_enabled boolean NOT NULL DEFAULT true,
    PRIMARY KEY (tenant, entry_id),
    UNIQUE (tenant, schedule_id, day_of_week, start_time),
    FOREIGN KEY (tenant, schedule_id) REFERENCES slaq.business_hours_schedules ON DELETE CASCADE,
    CONSTRAINT business_hours_entries_not_empty CHECK (NOT is_enabled OR start_time <> end_time)
);

CREATE TABLE slaq.holidays (
    tenant text NOT NULL REFERENCES slaq.tenants,
    holiday_id text NOT NULL DEFAULT gen_random_uuid()::text,
    schedule_id text, -- NULL: a holiday of every schedule
    holiday_name text NOT NULL DEFAULT '',
    holiday_date date NOT NULL,
    is_recurring boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, holiday_id),
    UNIQUE NULLS NOT DISTINCT (tenant, schedule_id, holiday_date, is_recurring),
    FOREIGN KEY (tenant, schedule_id) REFERENCES slaq.business_hours_schedules ON DELETE CASCADE
);

CREATE TABLE slaq.sla_policies (
    tenant text NOT NULL REFERENCES slaq.tenants,
    sla_policy_id text NOT NULL DEFAULT gen_random_uuid()::text,
    policy_name text NOT NULL CHECK (policy_name <> ''),
    description text,
    is_default boolean NOT NULL DEFAULT false,
    business_hours_schedule_id text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, sla_policy_id),
    UNIQUE (tenant, policy_name),
    -- refused while a policy uses the schedule
    FOREIGN KEY (tenant, business_hours_schedule_id) REFERENCES slaq.business_hours_schedules
);
CREATE UNIQUE INDEX sla_policies_one_default ON slaq.sla_policies (tenant) WHERE is_default;

CREATE TABLE slaq.sla_policy_targets (
    tenant text NOT NULL,
    target_id text NOT NULL DEFAULT gen_random_uuid()::text,
    sla_policy_id text NOT NULL,
    priority_id text NOT NULL,
    response_time_minutes integer CHECK (response_time_minutes > 0),
    resolution_time_minutes integer CHECK (resolution_time_minutes > 0),
    escalation_1_percent integer DEFAULT 70 CHECK (escalation_1_percent > 0),
    escalation_2_percent integer DEFAULT 90 CHECK (escalation_2_percent > 0),
    escalation_3_percent integer DEFAULT 110 CHECK (escalation_3_percent > 0),
    is_24x7 boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, target_id),
    UNIQUE (tenant, sla_policy_id, priority_id),
    FOREIGN KEY (tenant, sla_policy_id) REFERENCES slaq.sla_policies ON DELETE CASCADE,
    FOREIGN KEY (tenant, priority_id) REFERENCES slaq.priorities ON DELETE CASCADE,
    CONSTRAINT sla_policy_targets_levels_rise CHECK (
        (escalation_1_percent IS NULL OR escalation_2_percent IS NULL OR escalation_1_percent < escalation_2_percent)
        AND (escalation_2_percent IS NULL OR escalation_3_percent IS NULL OR escalation_2_percent < escalation_3_percent)
        AND (escalation_1_percent IS NULL OR escalation_3_percent IS NULL OR escalation_1_percent < escalation_3_percent)
    )
);

CREATE TABLE slaq.sla_notification_thresholds (
    tenant text NOT NULL,
    threshold_id text NOT NULL DEFAULT gen_random_uuid()::text,
    sla_policy_id text NOT NULL,
    threshold_percent integer NOT NULL CHECK (threshold_percent > 0),
    notification_type text NOT NULL DEFAULT 'warning' CHECK (notification_type IN ('warning', 'breach')),
    notify_assignee boolean NOT NULL DEFAULT true,
    notify_board_manager boolean NOT NULL DEFAULT false,
    notify_escalation_manager boolean NOT NULL DEFAULT false,
    channels text[] NOT NULL DEFAULT '{in_app}' CHECK (channels <@ '{in_app,email}'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, threshold_id),
    UNIQUE (tenant, sla_policy_id, threshold_percent),
    FOREIGN KEY (tenant, sla_policy_id) REFERENCES slaq.sla_policies ON DELETE CASCADE
);

CREATE TABLE slaq.clients (
    tenant text NOT NULL REFERENCES slaq.tenants,
    client_id text NOT NULL CHECK (client_id <> ''),
    client_name text NOT NULL,
    sla_policy_id text,
    PRIMARY KEY (tenant, client_id),
    FOREIGN KEY (tenant, sla_policy_id) REFERENCES slaq.sla_policies ON DELETE SET NULL (sla_policy_id)
);

CREATE TABLE slaq.boards (
    tenant text NOT NULL REFERENCES slaq.tenants,
    board_id text NOT NULL CHECK (board_id <> ''),
    board_name text NOT NULL,
    manager_user_id text,
    sla_policy_id text,
    PRIMARY KEY (tenant, board_id),
    FOREIGN KEY (tenant, manager_user_id) REFERENCES slaq.users ON DELETE SET NULL (manager_user_id),
    FOREIGN KEY (tenant, sla_policy_id) REFERENCES slaq.sla_policies ON DELETE SET NULL (sla_policy_id)
);

CREATE TABLE slaq.escalation_managers (
    tenant text NOT NULL,
    config_id text NOT NULL DEFAULT gen_random_uuid()::text,
    board_id text NOT NULL,
    escalation_level integer NOT NULL CHECK (escalation_level BETWEEN 1 AND 3),
    manager_user_id text,
    notify_via text[] NOT NULL DEFAULT '{in_app,email}' CHECK (notify_via <@ '{in_app,email}'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, config_id),
    UNIQUE (tenant, board_id, escalation_level),
    FOREIGN KEY (tenant, board_id) REFERENCES slaq.boards ON DELETE CASCADE,
    FOREIGN KEY (tenant, manager_user_id) REFERENCES slaq.users ON DELETE SET NULL (manager_user_id)
);

-- A missing row means: both on.
CREATE TABLE slaq.sla_settings (
    tenant text PRIMARY KEY REFERENCES slaq.tenants,
    pause_on_awaiting_client boolean NOT NULL DEFAULT true,
    response_state_tracking boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A missing row means: does not pause.
CREATE TABLE slaq.status_sla_pause_config (
    tenant text NOT NULL,
    config_id text NOT NULL DEFAULT gen_random_uuid()::text,
    status_id text NOT NULL,
    pauses_sla boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, config_id),
    UNIQUE (tenant, status_id),
    FOREIGN KEY (tenant, status_id) REFERENCES slaq.statuses ON DELETE CASCADE
);
