-- What people are told: rows of an in-app inbox, and messages on their way.
CREATE TABLE slaq.sla_notifications (
    tenant text NOT NULL,
    notification_id uuid NOT NULL DEFAULT gen_random_uuid(),
    crossing_id uuid NOT NULL,
    ticket_id text NOT NULL,
    user_id text NOT NULL,
    type text NOT NULL CHECK (type IN ('warning', 'error')),
    category text NOT NULL DEFAULT 'sla',
    title text NOT NULL,
    message text NOT NULL,
    link text,
    created_at timestamptz NOT NULL,
    read_at timestamptz,
    PRIMARY KEY (tenant, notification_id),
    UNIQUE (tenant, crossing_id, user_id),
    FOREIGN KEY (tenant, crossing_id) REFERENCES slaq.sla_crossings ON DELETE CASCADE,
    FOREIGN KEY (tenant, user_id) REFERENCES slaq.users ON DELETE CASCADE
);
CREATE INDEX sla_notifications_unread ON slaq.sla_notifications (tenant, user_id, created_at) WHERE read_at IS NULL;

CREATE TABLE slaq.sla_deliveries (
    tenant text NOT NULL,
    delivery_id uuid NOT NULL DEFAULT gen_random_uuid(),
    crossing_id uuid NOT NULL,
    ticket_id text NOT NULL,
    user_id text NOT NULL,
    channel text NOT NULL DEFAULT 'email' CHECK (channel = 'email'),
    template text NOT NULL CHECK (template IN ('sla-warning', 'sla-breach', 'sla-escalation')),
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sent', 'dead', 'dropped')),
    attempts integer NOT NULL DEFAULT 0,
    last_error text,
    created_at timestamptz NOT NULL,
    settled_at timestamptz,
    PRIMARY KEY (tenant, delivery_id),
    UNIQUE (tenant, crossing_id, user_id, channel),
    FOREIGN KEY (tenant, crossing_id) REFERENCES slaq.sla_crossings ON DELETE CASCADE,
    FOREIGN KEY (tenant, user_id) REFERENCES slaq.users ON DELETE CASCADE
);
CREATE INDEX sla_deliveries_unsettled ON slaq.sla_deliveries (tenant, created_at) WHERE status IN ('pending', 'dead');

-- The name the requirements give to what has been told; the crossing is the record of it.
CREATE VIEW slaq.sla_notifications_sent WITH (security_invoker = true) AS
SELECT tenant, ticket_id, phase, percent AS threshold_percent, noticed_at AS sent_at
FROM slaq.sla_crossings
WHERE kind = 'threshold' AND voided_at IS NULL AND NOT is_silent;
