-- Reference data: ports in a tree of regions.
CREATE TABLE regions (
    slug text COLLATE "C",
    name text NOT NULL,
    parent_slug text COLLATE "C",
    CONSTRAINT regions_pkey PRIMARY KEY (slug),
    CONSTRAINT regions_parent_slug_fkey FOREIGN KEY (parent_slug) REFERENCES regions (slug)
        DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT regions_slug_check CHECK (slug ~ '^[a-z0-9][a-z0-9_-]*$')
);
COMMENT ON COLUMN regions.parent_slug IS 'the region that contains this one; null at the top';

CREATE TABLE ports (
    code text COLLATE "C",
    name text NOT NULL,
    parent_slug text COLLATE "C" NOT NULL,
    CONSTRAINT ports_pkey PRIMARY KEY (code),
    CONSTRAINT ports_parent_slug_fkey FOREIGN KEY (parent_slug) REFERENCES regions (slug)
        DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT ports_code_check CHECK (code ~ '^[A-Z]{2}[A-Z2-9]{3}$')
);
COMMENT ON COLUMN ports.parent_slug IS 'the region that contains the port';

CREATE TABLE reference_version (
    only_row boolean DEFAULT true,
    version bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT reference_version_pkey PRIMARY KEY (only_row),
    CONSTRAINT reference_version_only_row_check CHECK (only_row)
);
INSERT INTO reference_version (version) VALUES (0);

-- A change of the tree stores its effect on visible rates like a batch, under a number that no batch has.
CREATE SEQUENCE reference_changes START WITH 4611686018427387904;

-- The ledger, and the work of each shard of a task.
CREATE TABLE batches (
    batch_no bigint GENERATED ALWAYS AS IDENTITY,
    batch_id text NOT NULL,
    state text NOT NULL DEFAULT 'open',
    bucket text NOT NULL,
    key text NOT NULL,
    version text NOT NULL,
    bytes bigint,
    digest text,
    forced boolean NOT NULL DEFAULT false,
    rows bigint,
    rejected_rows bigint,
    duplicate_of bigint,
    reference_version bigint,
    rates_digest text,
    same_prices_as bigint,
    report text,
    execution_arn text,
    message text,
    seconds jsonb NOT NULL DEFAULT '{}'::jsonb,
    opened_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz,
    notified boolean,
    dropped_at timestamptz,
    CONSTRAINT batches_pkey PRIMARY KEY (batch_no),
    CONSTRAINT batches_batch_id_key UNIQUE (batch_id),
    CONSTRAINT batches_duplicate_of_fkey FOREIGN KEY (duplicate_of) REFERENCES batches (batch_no),
    CONSTRAINT batches_same_prices_as_fkey FOREIGN KEY (same_prices_as) REFERENCES batches (batch_no),
    CONSTRAINT batches_state_check
        CHECK (state IN ('open', 'committed', 'rejected', 'duplicate', 'failed', 'undone'))
);
COMMENT ON COLUMN batches.batch_id IS 'name of the execution';
COMMENT ON COLUMN batches.version IS 'version of the object in S3';
COMMENT ON COLUMN batches.digest IS 'SHA-256 over the SHA-256s of its parts of 8 MiB';
COMMENT ON COLUMN batches.reference_version IS 'version of the tree of regions that its rates were computed with';
COMMENT ON COLUMN batches.rates_digest IS 'digest of its rates between ports: the same for the same prices in any file format';
COMMENT ON COLUMN batches.same_prices_as IS 'another committed batch with the same rates and different bytes';
COMMENT ON COLUMN batches.report IS 's3:// URI of the validation report';
COMMENT ON COLUMN batches.message IS 'why the batch was rejected or failed';
COMMENT ON COLUMN batches.seconds IS 'duration of each step';
COMMENT ON COLUMN batches.closed_at IS 'when the batch left the state open';
COMMENT ON COLUMN batches.dropped_at IS 'when its prices were dropped, if it is not committed';
COMMENT ON COLUMN batches.notified IS 'whether gc has sent the notification; null if the execution sends it';
CREATE UNIQUE INDEX batches_committed_digest ON batches (digest) WHERE state = 'committed' AND NOT forced;
CREATE INDEX batches_digest ON batches (digest) WHERE state = 'committed';
CREATE INDEX batches_rates_digest ON batches (rates_digest) WHERE state = 'committed';
CREATE INDEX batches_key ON batches (key);
CREATE INDEX batches_open ON batches (opened_at) WHERE state = 'open';
CREATE INDEX batches_undone ON batches (batch_no) WHERE state = 'undone' AND dropped_at IS NULL;
CREATE INDEX batches_unnotified ON batches (batch_no) WHERE NOT notified;

CREATE TABLE shards (
    batch_no bigint,
    task text,
    shard integer,
    pid integer,
    backend_start timestamptz,
    done_at timestamptz,
    rows bigint,
    result jsonb,
    CONSTRAINT shards_pkey PRIMARY KEY (batch_no, task, shard),
    CONSTRAINT shards_batch_no_fkey FOREIGN KEY (batch_no) REFERENCES batches (batch_no)
);
COMMENT ON COLUMN shards.pid IS 'process ID of the backend that works on it';
COMMENT ON COLUMN shards.result IS 'input for merging the shards';

-- The record of every price. Fixed-width columns come first, so that no padding is stored.
CREATE TABLE prices (
    batch_no bigint NOT NULL,
    day date NOT NULL,
    price integer NOT NULL,
    orig_code text COLLATE "C" NOT NULL,
    dest_code text COLLATE "C" NOT NULL,
    CONSTRAINT prices_price_check CHECK (price > 0)
) PARTITION BY RANGE (batch_no);
COMMENT ON COLUMN prices.price IS 'whole US dollars';

-- What the API reads.
CREATE TABLE rates (
    batch_no bigint NOT NULL,
    month date NOT NULL,
    orig_code text COLLATE "C" NOT NULL,
    dest_code text COLLATE "C" NOT NULL,
    counts bigint[] NOT NULL,
    sums bigint[] NOT NULL,
    CONSTRAINT rates_days_check CHECK (
        cardinality(counts) = extract(day FROM month + '1 mon -1 days'::interval)
        AND cardinality(sums) = cardinality(counts)
    )
) WITH (vacuum_truncate = off);
COMMENT ON COLUMN rates.month IS 'first day of the month';
COMMENT ON COLUMN rates.orig_code IS 'port code or region slug';
COMMENT ON COLUMN rates.dest_code IS 'port code or region slug, of the same kind as orig_code';
COMMENT ON COLUMN rates.counts IS 'number of prices on each day of the month';
COMMENT ON COLUMN rates.sums IS 'sum of the prices on each day, in US dollars';
CREATE INDEX rates_lane_month ON rates (orig_code, dest_code, month);
CREATE INDEX rates_batch_no ON rates (batch_no) WHERE batch_no <> 0;

CREATE TABLE visible_batches (
    batch_no bigint,
    version bigint NOT NULL,
    CONSTRAINT visible_batches_pkey PRIMARY KEY (batch_no)
);
COMMENT ON COLUMN visible_batches.version IS 'data version from which its rates count';
INSERT INTO visible_batches VALUES (0, 0);  -- merged rates, always visible

CREATE TABLE changes (
    batch_no bigint,
    version bigint,
    lanes bytea,
    CONSTRAINT changes_pkey PRIMARY KEY (batch_no)
);
COMMENT ON COLUMN changes.version IS 'data version of the change; null until it is visible';
COMMENT ON COLUMN changes.lanes IS 'bitmap of the hashes of the lanes that it touches; null means all lanes';
CREATE INDEX changes_version ON changes (version);

CREATE TABLE data_version (
    only_row boolean DEFAULT true,
    epoch uuid NOT NULL DEFAULT gen_random_uuid(),
    version bigint NOT NULL,
    merged_version bigint NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT data_version_pkey PRIMARY KEY (only_row),
    CONSTRAINT data_version_only_row_check CHECK (only_row)
);
COMMENT ON COLUMN data_version.merged_version IS 'newest version whose rates may be merged; older states cannot be read';
INSERT INTO data_version (version) VALUES (0);

-- Every region that contains a port, at any depth.
CREATE VIEW port_regions AS
WITH RECURSIVE up (code, slug) AS (
    SELECT code, parent_slug FROM ports
    UNION ALL
    SELECT up.code, regions.parent_slug
    FROM up JOIN regions ON regions.slug = up.slug
    WHERE regions.parent_slug IS NOT NULL
)
SELECT code, slug FROM up;

-- For people who use SQL: one row per lane and day, as in the API's responses.
CREATE VIEW daily_rates AS
SELECT
    orig_code,
    dest_code,
    month + (nth - 1)::integer AS day,
    sum(count)::bigint AS count,
    CASE WHEN sum(count) >= 3 THEN (sum(sum) / sum(count))::double precision END AS price
FROM rates
CROSS JOIN LATERAL unnest(counts, sums) WITH ORDINALITY AS days (count, sum, nth)
WHERE batch_no IN (SELECT batch_no FROM visible_batches)
GROUP BY orig_code, dest_code, month, nth
HAVING sum(count) > 0;

-- The prices of committed batches. The table prices also holds batches that are still loading.
CREATE VIEW committed_prices AS
SELECT prices.*
FROM prices JOIN batches USING (batch_no)
WHERE batches.state = 'committed';

-- The loader owns no table. It can change the schema only through these four functions; each checks the ledger first.
CREATE FUNCTION stage_batch(target bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    -- A shared lock, as other shards hold it while they copy; it prevents the batch from being closed.
    PERFORM FROM batches WHERE batch_no = target AND state = 'open' FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'batch % is not open', target USING ERRCODE = 'RF001';
    END IF;
    PERFORM pg_advisory_xact_lock(7283731, (target % 2147483647)::integer);  -- one shard creates the table
    IF to_regclass(format('public.staging_%s', target)) IS NOT NULL THEN
        RETURN;
    END IF;
    -- With this constraint and NOT NULL columns, ATTACH PARTITION does not scan the table.
    EXECUTE format(
        'CREATE TABLE public.staging_%1$s (
             LIKE public.prices INCLUDING CONSTRAINTS,
             CONSTRAINT staging_%1$s_batch_no_check CHECK (batch_no = %1$s)
         )', target);
    EXECUTE format('ALTER TABLE public.staging_%1$s ALTER COLUMN batch_no SET DEFAULT %1$s', target);
    EXECUTE format('GRANT SELECT, INSERT ON public.staging_%1$s TO ratesflow_loader', target);
END
$$;
COMMENT ON FUNCTION stage_batch IS 'creates the staging table of an open batch, unless it exists';

CREATE FUNCTION attach_batch(target bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM FROM batches WHERE batch_no = target AND state = 'open' FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'batch % is not open', target USING ERRCODE = 'RF001';
    END IF;
    IF EXISTS (SELECT FROM pg_inherits WHERE inhrelid = format('public.staging_%s', target)::regclass) THEN
        RETURN;
    END IF;
    EXECUTE format(
        'ALTER TABLE public.prices ATTACH PARTITION public.staging_%s FOR VALUES FROM (%s) TO (%s)',
        target, target, target + 1);
END
$$;
COMMENT ON FUNCTION attach_batch IS 'makes the staging table of an open batch a partition of prices, still hidden';

CREATE FUNCTION drop_batch(target bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    staging regclass;
BEGIN
    PERFORM FROM batches
    WHERE batch_no = target AND state IN ('rejected', 'duplicate', 'failed', 'undone') FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'batch % is open or committed: its prices stay', target USING ERRCODE = 'RF001';
    END IF;
    -- Merges of tables take this lock too. Only under it is the table that holds the prices known and stable.
    PERFORM pg_advisory_xact_lock(7283733, 0);
    staging := to_regclass(format('public.staging_%s', target));
    IF staging IS NULL THEN
        -- Its rows in a table of many batches, if any; as a literal, so that the planner prunes all other partitions.
        EXECUTE format('DELETE FROM public.prices WHERE batch_no = %s', target);
    ELSE
        IF EXISTS (SELECT FROM pg_inherits WHERE inhrelid = staging) THEN
            EXECUTE format('ALTER TABLE public.prices DETACH PARTITION %s', staging);
        END IF;
        EXECUTE format('DROP TABLE %s', staging);
    END IF;
    UPDATE batches SET dropped_at = now() WHERE batch_no = target AND dropped_at IS NULL;
END
$$;
COMMENT ON FUNCTION drop_batch IS 'drops the prices of a batch that does not count, attached or not';

-- The partitions of prices and their batch numbers: staging_7 holds batch 7, prices_3_9 holds batches 3 to 9.
-- CASE, since the planner may evaluate the casts for all tables of the database before it filters them.
CREATE VIEW price_tables AS
SELECT
    part,
    CASE WHEN name ~ '^(staging|prices)(_[0-9]+){1,2}$' THEN split_part(name, '_', 2)::bigint END AS first,
    CASE
        WHEN name ~ '^staging_[0-9]+$' THEN split_part(name, '_', 2)::bigint
        WHEN name ~ '^prices_[0-9]+_[0-9]+$' THEN split_part(name, '_', 3)::bigint
    END AS last
FROM (
    SELECT inhrelid::regclass AS part, relname::text AS name
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'public.prices'::regclass
) AS parts;

CREATE FUNCTION merge_prices(first bigint, last bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    merged text := format('public.prices_%s_%s', first, last);
    parts regclass[];
    part regclass;
    moved bigint;
    rows bigint := 0;
BEGIN
    PERFORM FROM batches WHERE batch_no BETWEEN first AND last AND state = 'open';
    IF FOUND THEN
        RAISE EXCEPTION 'a batch from % to % is open: its prices are not complete', first, last
            USING ERRCODE = 'RF001';
    END IF;
    PERFORM pg_advisory_xact_lock(7283733, 0);
    SELECT coalesce(array_agg(tables.part ORDER BY tables.first), '{}') INTO parts
    FROM public.price_tables AS tables
    WHERE tables.first >= merge_prices.first AND tables.last <= merge_prices.last;
    IF cardinality(parts) < 2 THEN
        RETURN 0;  -- another merge came first
    END IF;
    EXECUTE format(
        'CREATE TABLE %1$s (
             LIKE public.prices INCLUDING CONSTRAINTS,
             CONSTRAINT prices_%2$s_%3$s_batch_no_check CHECK (batch_no >= %2$s AND batch_no < %4$s)
         )', merged, first, last, last + 1);
    FOREACH part IN ARRAY parts LOOP
        EXECUTE format(
            'INSERT INTO %s SELECT prices.* FROM %s AS prices JOIN public.batches USING (batch_no)
             WHERE state = %L', merged, part, 'committed');
        GET DIAGNOSTICS moved = ROW_COUNT;
        rows := rows + moved;
    END LOOP;
    EXECUTE format('GRANT SELECT ON %s TO ratesflow_loader', merged);
    -- A table of one batch needs no index, which would slow its load by a tenth; one of many is read batch by batch.
    EXECUTE format('CREATE INDEX ON %s USING brin (batch_no)', merged);
    -- The table prices is locked only from here on, while the catalog changes.
    FOREACH part IN ARRAY parts LOOP
        EXECUTE format('ALTER TABLE public.prices DETACH PARTITION %s', part);
        EXECUTE format('DROP TABLE %s', part);
    END LOOP;
    EXECUTE format(
        'ALTER TABLE public.prices ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s)', merged, first, last + 1);
    RETURN rows;
END
$$;
COMMENT ON FUNCTION merge_prices IS 'merges the prices of the closed batches in a range of numbers into one table';

REVOKE ALL ON FUNCTION stage_batch, attach_batch, drop_batch, merge_prices FROM PUBLIC;
GRANT EXECUTE ON FUNCTION stage_batch, attach_batch, drop_batch, merge_prices TO ratesflow_loader;

-- The loader may change rows, but no definitions; it may not delete from the ledger.
GRANT SELECT, INSERT, UPDATE ON regions, ports, batches, shards TO ratesflow_loader;
GRANT SELECT, UPDATE ON reference_version, data_version TO ratesflow_loader;
GRANT USAGE ON SEQUENCE reference_changes TO ratesflow_loader;
GRANT SELECT, INSERT, DELETE ON rates, visible_batches TO ratesflow_loader;
GRANT SELECT, INSERT, UPDATE, DELETE ON changes TO ratesflow_loader;
GRANT SELECT ON prices, price_tables, port_regions, daily_rates, committed_prices TO ratesflow_loader;

-- The API may read what a response needs, and nothing else.
GRANT SELECT ON rates, visible_batches, changes, data_version, ports, regions, port_regions TO ratesflow_reader;
