-- The three roles. They are created before the first migration, since the first role owns everything.
-- People and services log in as members of a role: with two users per role, passwords can be rotated in turn.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['ratesflow_owner', 'ratesflow_loader', 'ratesflow_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- another migration on this server created it first
            END;
        END IF;
    END LOOP;
    -- From PostgreSQL 16 on, the creator of a role may grant it but is not a member: the RDS master is not a superuser.
    IF NOT pg_has_role(current_user, 'ratesflow_owner', 'SET') THEN
        BEGIN
            EXECUTE format('GRANT ratesflow_owner TO %I', current_user);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE insufficient_privilege USING
                MESSAGE = format('%1$s did not make the role ratesflow_owner: migrate as the user who did, or let that '
                                 'user GRANT ratesflow_owner, ratesflow_loader, ratesflow_reader TO %1$I '
                                 'WITH ADMIN OPTION', current_user);
        END;
    END IF;
    -- A retry terminates the backend of an earlier attempt, which may have logged in as the other of two rotated users.
    -- The first user cannot see sessions of the second, since only the second is a member of the first.
    IF NOT (pg_has_role('ratesflow_loader', 'pg_signal_backend', 'USAGE')
            AND pg_has_role('ratesflow_loader', 'pg_read_all_stats', 'USAGE')) THEN
        BEGIN
            GRANT pg_signal_backend TO ratesflow_loader;
            BEGIN
                GRANT pg_read_all_stats TO ratesflow_loader;
            EXCEPTION WHEN insufficient_privilege THEN
                -- The RDS master may grant only pg_monitor, which is a member of pg_read_all_stats.
                GRANT pg_monitor TO ratesflow_loader;
            END;
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE WARNING 'ratesflow_loader may not end sessions: after a rotation retries wait for hung attempts';
        END;
    END IF;
    IF has_schema_privilege(current_user, 'public', 'CREATE WITH GRANT OPTION') THEN
        GRANT USAGE, CREATE ON SCHEMA public TO ratesflow_owner;
        GRANT USAGE ON SCHEMA public TO ratesflow_loader, ratesflow_reader;
    ELSIF NOT has_schema_privilege('ratesflow_owner', 'public', 'CREATE') THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('%1$s owns neither the database %2$s nor its schema public: '
                             'ALTER DATABASE %2$I OWNER TO %1$I', current_user, current_database());
    END IF;
END
$$;
