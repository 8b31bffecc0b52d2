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
    IF NOT pg_has_role(current_user, 'ratesflow_owner', 'MEMBER') THEN
        EXECUTE format('GRANT ratesflow_owner TO %I', current_user);
    END IF;
    -- A retry ends the backend of an earlier attempt, which may have logged in as the other of two rotated users:
    -- it must be able to find it (the second user is a member of the first, who cannot see what is the second's).
    FOREACH wanted IN ARRAY ARRAY['pg_signal_backend', 'pg_read_all_stats'] LOOP
        BEGIN
            EXECUTE format('GRANT %I TO ratesflow_loader', wanted);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE WARNING '% was not granted to ratesflow_loader: retries wait for hung attempts', wanted;
        END;
    END LOOP;
END
$$;
GRANT USAGE, CREATE ON SCHEMA public TO ratesflow_owner;
GRANT USAGE ON SCHEMA public TO ratesflow_loader, ratesflow_reader;
