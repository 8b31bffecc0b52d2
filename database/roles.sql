-- The three roles, made before the first migration since everything belongs to the first of them.
-- People and services log in as users that are members of one: two users a role can be rotated in turn.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['ratesflow_owner', 'ratesflow_loader', 'ratesflow_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- another migration on this server was first
            END;
        END IF;
    END LOOP;
    -- From PostgreSQL 16 on the maker of a role may grant it, but is not in it: the master of RDS is no superuser.
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
    -- A retry ends the backend of an earlier attempt, which may have logged in as the other of two rotated users.
    -- To the first of them what the second does is hidden, since only the second is a member of the first.
    IF NOT (pg_has_role('ratesflow_loader', 'pg_signal_backend', 'USAGE')
            AND pg_has_role('ratesflow_loader', 'pg_read_all_stats', 'USAGE')) THEN
        BEGIN
            GRANT pg_signal_backend TO ratesflow_loader;
            BEGIN
                GRANT pg_read_all_stats TO ratesflow_loader;
            EXCEPTION WHEN insufficient_privilege THEN
                -- Of these two the master of RDS may grant only the second, which is a member of the first.
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
