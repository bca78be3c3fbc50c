-- A ticket: what slaq knows of it, what happened, what was promised, when to look, what was crossed.

-- Promises by content: tickets under the same terms share a row, and nothing is ever changed in it.
CREATE TABLE slaq.sla_promises (
    tenant text NOT NULL REFERENCES slaq.tenants,
    promise_id text NOT NULL,
    body jsonb NOT NULL,
    PRIMARY KEY (tenant, promise_id)
);

CREATE TABLE slaq.tickets (
    tenant text NOT NULL REFERENCES slaq.tenants,
    ticket_id text NOT NULL CHECK (ticket_id <> ''),
    ticket_number text NOT NULL,
    title text NOT NULL,
    url text,
    client_id text,
    board_id text,
    priority_id text,
    status_id text,
    assigned_to text,
    response_state text CHECK (response_state IN ('awaiting_client', 'awaiting_internal')),
    entered_at timestamptz NOT NULL,
    closed_at timestamptz,
    is_closed boolean NOT NULL DEFAULT false, -- what was last known, whatever says so: closed_at or the status
    -- decided by hand: a policy, that none applies, that nothing is promised; each holds until it is taken back
    pinned_policy_id text,
    is_policy_cleared boolean NOT NULL DEFAULT false,
    is_cancelled boolean NOT NULL DEFAULT false,
    -- the result of the clocks, written down for people and SQL
    sla_policy_id text,
    sla_promise_id text,
    sla_started_at timestamptz,
    sla_response_due_at timestamptz,
    sla_resolution_due_at timestamptz,
    sla_response_at_risk_at timestamptz,
    sla_resolution_at_risk_at timestamptz,
    sla_response_at timestamptz,
    sla_resolution_at timestamptz,
    sla_response_met boolean,
    sla_resolution_met boolean,
    sla_paused_at timestamptz,
    sla_pause_reason text CHECK (sla_pause_reason IN ('awaiting_client', 'status', 'manual')),
    sla_total_pause_minutes integer NOT NULL DEFAULT 0 CHECK (sla_total_pause_minutes >= 0),
    escalated boolean NOT NULL DEFAULT false,
    escalation_level integer CHECK (escalation_level BETWEEN 1 AND 3),
    escalated_at timestamptz,
    escalated_by text,
    PRIMARY KEY (tenant, ticket_id),
    FOREIGN KEY (tenant, client_id) REFERENCES slaq.clients ON DELETE SET NULL (client_id),
    FOREIGN KEY (tenant, board_id) REFERENCES slaq.boards ON DELETE SET NULL (board_id),
    FOREIGN KEY (tenant, priority_id) REFERENCES slaq.priorities ON DELETE SET NULL (priority_id),
    FOREIGN KEY (tenant, status_id) REFERENCES slaq.statuses ON DELETE SET NULL (status_id),
    FOREIGN KEY (tenant, assigned_to) REFERENCES slaq.users ON DELETE SET NULL (assigned_to),
    FOREIGN KEY (tenant, pinned_policy_id) REFERENCES slaq.sla_policies ON DELETE SET NULL (pinned_policy_id),
    FOREIGN KEY (tenant, sla_policy_id) REFERENCES slaq.sla_policies ON DELETE SET NULL (sla_policy_id)
);
CREATE INDEX tickets_open ON slaq.tickets (tenant, ticket_id) WHERE sla_resolution_at IS NULL;
CREATE INDEX tickets_at_risk ON slaq.tickets (tenant, (least(sla_response_at_risk_at, sla_resolution_at_risk_at)))
    WHERE sla_resolution_at IS NULL AND sla_paused_at IS NULL;
CREATE INDEX tickets_breached ON slaq.tickets (tenant, ticket_id) WHERE sla_response_met = false OR sla_resolution_met = false;
CREATE INDEX tickets_paused ON slaq.tickets (tenant, sla_paused_at) WHERE sla_paused_at IS NOT NULL;

-- What happened. Facts that were learned together share a change, which is the version they made.
CREATE TABLE slaq.sla_facts (
    tenant text NOT NULL,
    ticket_id text NOT NULL,
    fact_id bigint GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL CHECK (kind IN ('started', 'paused', 'resumed', 'answered', 'resolved', 'reopened', 'retargeted')),
    source text CHECK (source IN ('status', 'awaiting_client', 'manual')),
    at timestamptz NOT NULL,
    known_at timestamptz NOT NULL,
    change bigint NOT NULL,
    promise_id text,
    actor text,
    PRIMARY KEY (tenant, ticket_id, fact_id),
    FOREIGN KEY (tenant, ticket_id) REFERENCES slaq.tickets ON DELETE CASCADE,
    FOREIGN KEY (tenant, promise_id) REFERENCES slaq.sla_promises,
    CHECK ((kind IN ('paused', 'resumed')) = (source IS NOT NULL)),
    CHECK ((kind IN ('started', 'retargeted')) = (promise_id IS NOT NULL))
);
-- The same kind, source and instant twice is one fact.
CREATE UNIQUE INDEX sla_facts_once ON slaq.sla_facts (tenant, ticket_id, kind, source, at) NULLS NOT DISTINCT
    WHERE kind <> 'retargeted';

-- When to look again. This row is also the ticket's only lock; it has no key to tickets, because it comes first.
CREATE TABLE slaq.sla_alarms (
    tenant text NOT NULL REFERENCES slaq.tenants,
    ticket_id text NOT NULL,
    version bigint NOT NULL DEFAULT 0,
    backend text NOT NULL DEFAULT 'polling' CHECK (backend IN ('polling', 'temporal')),
    due_at timestamptz,
    armed_at timestamptz,
    lease_until timestamptz,
    retry_at timestamptz,
    failures integer NOT NULL DEFAULT 0,
    last_error text,
    wake_at timestamptz GENERATED ALWAYS AS (
        CASE WHEN due_at IS NOT NULL THEN greatest(due_at, lease_until, retry_at) END
    ) STORED,
    PRIMARY KEY (tenant, ticket_id)
);
CREATE INDEX sla_alarms_wake ON slaq.sla_alarms (wake_at) WHERE wake_at IS NOT NULL;

-- What was crossed; the unique index is the claim.
CREATE TABLE slaq.sla_crossings (
    tenant text NOT NULL,
    crossing_id uuid NOT NULL DEFAULT gen_random_uuid(),
    ticket_id text NOT NULL,
    phase text NOT NULL CHECK (phase IN ('response', 'resolution')),
    kind text NOT NULL CHECK (kind IN ('breach', 'threshold', 'escalation')),
    percent integer NOT NULL CHECK (percent > 0),
    level integer CHECK (level BETWEEN 1 AND 3),
    crossed_at timestamptz NOT NULL,
    armed_at timestamptz NOT NULL,
    noticed_at timestamptz NOT NULL,
    claimed_by text NOT NULL CHECK (claimed_by IN ('polling', 'temporal', 'application')),
    is_silent boolean NOT NULL DEFAULT false,
    voided_at timestamptz,
    PRIMARY KEY (tenant, crossing_id),
    FOREIGN KEY (tenant, ticket_id) REFERENCES slaq.tickets ON DELETE CASCADE,
    CHECK ((kind = 'escalation') = (level IS NOT NULL))
);
CREATE UNIQUE INDEX sla_crossings_once ON slaq.sla_crossings (tenant, ticket_id, phase, kind, percent)
    WHERE voided_at IS NULL;
CREATE INDEX sla_crossings_of_ticket ON slaq.sla_crossings (tenant, ticket_id);

-- Kept when a ticket is deleted, hence without a key to it.
CREATE TABLE slaq.sla_audit_log (
    tenant text NOT NULL REFERENCES slaq.tenants,
    log_id bigint GENERATED ALWAYS AS IDENTITY,
    ticket_id text,
    event_type varchar(50) NOT NULL,
    event_data jsonb NOT NULL DEFAULT '{}',
    triggered_by text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, log_id)
);
CREATE INDEX sla_audit_log_ticket ON slaq.sla_audit_log (tenant, ticket_id);
CREATE INDEX sla_audit_log_created ON slaq.sla_audit_log (tenant, created_at);
