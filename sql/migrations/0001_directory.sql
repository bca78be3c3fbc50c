-- Who and what tickets refer to: slaq's own copies of the host's records.
CREATE TABLE slaq.tenants (
    tenant text PRIMARY KEY CHECK (tenant <> ''),
    tenant_name text NOT NULL DEFAULT ''
);

CREATE TABLE slaq.users (
    tenant text NOT NULL REFERENCES slaq.tenants,
    user_id text NOT NULL CHECK (user_id <> ''),
    display_name text NOT NULL DEFAULT '',
    email text CHECK (email LIKE '%_@_%'),
    is_active boolean NOT NULL DEFAULT true,
    PRIMARY KEY (tenant, user_id)
);

CREATE TABLE slaq.priorities (
    tenant text NOT NULL REFERENCES slaq.tenants,
    priority_id text NOT NULL CHECK (priority_id <> ''),
    priority_name text NOT NULL,
    itil_level integer CHECK (itil_level BETWEEN 1 AND 5),
    PRIMARY KEY (tenant, priority_id)
);

CREATE TABLE slaq.statuses (
    tenant text NOT NULL REFERENCES slaq.tenants,
    status_id text NOT NULL CHECK (status_id <> ''),
    status_name text NOT NULL,
    is_closed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant, status_id)
);
