-- The four roles of slaq; run before every migration, harmless when they are there.
--   slaq_owner        owns the schema and its tables; row-level security is forced upon it
--   slaq_timer        owns the few functions that work across tenants
--   slaq_application  what an application's login is granted
--   slaq_worker       what a worker's login is granted: the application's rights and the cross-tenant functions
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['slaq_owner', 'slaq_timer', 'slaq_application', 'slaq_worker'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database of this cluster was quicker: roles are shared
            END;
        END IF;
        IF NOT pg_catalog.pg_has_role(current_user, role_name, 'USAGE') THEN
            EXECUTE pg_catalog.format('GRANT %I TO CURRENT_USER', role_name);
        END IF;
    END LOOP;
    IF NOT pg_catalog.pg_has_role('slaq_worker', 'slaq_application', 'USAGE') THEN
        GRANT slaq_application TO slaq_worker;
    END IF;
END
$$;
CREATE SCHEMA IF NOT EXISTS slaq AUTHORIZATION slaq_owner;
