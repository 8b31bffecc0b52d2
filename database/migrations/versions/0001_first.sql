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

-- What a change of the tree does to rates that are visible is kept like a batch, under a number that no batch has.
CREATE SEQUENCE reference_changes START WITH 4611686018427387904;

-- The ledger, and what each shard of a task has done.
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
COMMENT ON COLUMN batches.batch_id IS 'the name of its execution';
COMMENT ON COLUMN batches.version IS 'the object''s version in S3';
COMMENT ON COLUMN batches.digest IS 'SHA-256 over the SHA-256s of its parts of 8 MiB';
COMMENT ON COLUMN batches.reference_version IS 'of the tree of regions that its rates were counted with';
COMMENT ON COLUMN batches.rates_digest IS 'of its rates between ports: the same prices in another wrapping have the same';
COMMENT ON COLUMN batches.same_prices_as IS 'another committed batch with the same rates and other bytes';
COMMENT ON COLUMN batches.report IS 's3:// address of its validation report';
COMMENT ON COLUMN batches.message IS 'why it was refused or failed, in words';
COMMENT ON COLUMN batches.seconds IS 'by step';
COMMENT ON COLUMN batches.closed_at IS 'when it left the state open';
COMMENT ON COLUMN batches.dropped_at IS 'when its prices were dropped, if it does not count';
COMMENT ON COLUMN batches.notified IS 'by gc; null where the execution sends the notification';
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
    CONSTRAINT shards_batch_no_fkey FOREIGN KEY (batch_no) REFERENCES batches (batch_no),
    CONSTRAINT shards_task_check CHECK (task IN ('validate', 'load', 'second_half'))
);
COMMENT ON COLUMN shards.pid IS 'of the backend that works on it';
COMMENT ON COLUMN shards.result IS 'what the merge of the shards needs';

-- The record of every price. The fixed-width columns come first, so that no padding is stored.
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
COMMENT ON COLUMN rates.month IS 'its first day';
COMMENT ON COLUMN rates.orig_code IS 'a port''s code, or a region''s slug';
COMMENT ON COLUMN rates.dest_code IS 'of the same kind as orig_code';
COMMENT ON COLUMN rates.counts IS 'prices on each day of the month';
COMMENT ON COLUMN rates.sums IS 'their sum on each day, in US dollars';
CREATE INDEX rates_lane_month ON rates (orig_code, dest_code, month);
CREATE INDEX rates_batch_no ON rates (batch_no) WHERE batch_no <> 0;

CREATE TABLE visible_batches (
    batch_no bigint,
    version bigint NOT NULL,
    CONSTRAINT visible_batches_pkey PRIMARY KEY (batch_no)
);
COMMENT ON COLUMN visible_batches.version IS 'the data version from which on its rates count';
INSERT INTO visible_batches VALUES (0, 0);  -- merged rates, always visible

CREATE TABLE changes (
    batch_no bigint,
    version bigint,
    lanes bytea,
    CONSTRAINT changes_pkey PRIMARY KEY (batch_no)
);
COMMENT ON COLUMN changes.version IS 'the data version that it made; null until then';
COMMENT ON COLUMN changes.lanes IS 'a bitmap of the lanes that it touches, by hash; null for all';
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
COMMENT ON COLUMN data_version.merged_version IS 'the newest version of which rates may be merged: older states cannot be read';
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

-- For people who use SQL: one row a lane and day, as the API answers it.
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

-- The prices of batches that count. Reading prices itself would show batches that are still loading.
CREATE VIEW committed_prices AS
SELECT prices.*
FROM prices JOIN batches USING (batch_no)
WHERE batches.state = 'committed';

-- The loader owns no table. These four are all that it may do to the schema, and each asks the ledger.
CREATE FUNCTION stage_batch(wanted bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    -- Shared, since other shards hold it so for as long as they copy; it keeps the batch from being closed.
    PERFORM FROM batches WHERE batch_no = wanted AND state = 'open' FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'batch % is not open', wanted USING ERRCODE = 'RF001';
    END IF;
    PERFORM pg_advisory_xact_lock(7283731, (wanted % 2147483647)::integer);  -- one shard makes the table
    IF to_regclass(format('public.staging_%s', wanted)) IS NOT NULL THEN
        RETURN;
    END IF;
    -- The constraint and the NOT NULLs spare the attachment its scan of the table.
    EXECUTE format(
        'CREATE TABLE public.staging_%1$s (
             LIKE public.prices INCLUDING CONSTRAINTS,
             CONSTRAINT staging_%1$s_batch_no_check CHECK (batch_no = %1$s)
         )', wanted);
    EXECUTE format('ALTER TABLE public.staging_%1$s ALTER COLUMN batch_no SET DEFAULT %1$s', wanted);
    EXECUTE format('GRANT SELECT, INSERT ON public.staging_%1$s TO ratesflow_loader', wanted);
END
$$;
COMMENT ON FUNCTION stage_batch IS 'makes the staging table of an open batch, unless it is there';

CREATE FUNCTION attach_batch(wanted bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM FROM batches WHERE batch_no = wanted AND state = 'open' FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'batch % is not open', wanted USING ERRCODE = 'RF001';
    END IF;
    IF EXISTS (SELECT FROM pg_inherits WHERE inhrelid = format('public.staging_%s', wanted)::regclass) THEN
        RETURN;
    END IF;
    EXECUTE format(
        'ALTER TABLE public.prices ATTACH PARTITION public.staging_%s FOR VALUES FROM (%s) TO (%s)',
        wanted, wanted, wanted + 1);
END
$$;
COMMENT ON FUNCTION attach_batch IS 'makes the staging table of an open batch a partition of prices, still hidden';

CREATE FUNCTION drop_batch(wanted bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    staging regclass;
BEGIN
    PERFORM FROM batches
    WHERE batch_no = wanted AND state IN ('rejected', 'duplicate', 'failed', 'undone') FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'batch % is open or committed: its prices stay', wanted USING ERRCODE = 'RF001';
    END IF;
    -- Merges of tables hold it too. Only now is it known which table has the prices, and that it stays.
    PERFORM pg_advisory_xact_lock(7283733, 0);
    staging := to_regclass(format('public.staging_%s', wanted));
    IF staging IS NULL THEN
        -- Its rows in a table of many batches, if any; as a literal, for which no other table is looked at.
        EXECUTE format('DELETE FROM public.prices WHERE batch_no = %s', wanted);
    ELSE
        IF EXISTS (SELECT FROM pg_inherits WHERE inhrelid = staging) THEN
            EXECUTE format('ALTER TABLE public.prices DETACH PARTITION %s', staging);
        END IF;
        EXECUTE format('DROP TABLE %s', staging);
    END IF;
    UPDATE batches SET dropped_at = now() WHERE batch_no = wanted AND dropped_at IS NULL;
END
$$;
COMMENT ON FUNCTION drop_batch IS 'drops the prices of a batch that does not count, attached or not';

-- The tables of prices and the numbers that they hold: staging_7 those of batch 7, prices_3_9 those of 3 to 9.
-- CASE, since the planner may look at the names of all tables of the database before it knows which are meant.
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
        RAISE EXCEPTION 'a batch from % to % is open: its prices are still to come', first, last
            USING ERRCODE = 'RF001';
    END IF;
    PERFORM pg_advisory_xact_lock(7283733, 0);
    SELECT coalesce(array_agg(tables.part ORDER BY tables.first), '{}') INTO parts
    FROM public.price_tables AS tables
    WHERE tables.first >= merge_prices.first AND tables.last <= merge_prices.last;
    IF cardinality(parts) < 2 THEN
        RETURN 0;  -- another merge was faster
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
    -- A table of one batch needs no index, which would cost its load a tenth; one of many is read a batch at a time.
    EXECUTE format('CREATE INDEX ON %s USING brin (batch_no)', merged);
    -- Only from here on is prices locked, for as long as changing the catalogue takes.
    FOREACH part IN ARRAY parts LOOP
        EXECUTE format('ALTER TABLE public.prices DETACH PARTITION %s', part);
        EXECUTE format('DROP TABLE %s', part);
    END LOOP;
    EXECUTE format(
        'ALTER TABLE public.prices ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s)', merged, first, last + 1);
    RETURN rows;
END
$$;
COMMENT ON FUNCTION merge_prices IS 'makes one table of the prices of the closed batches of a range of numbers';

REVOKE ALL ON FUNCTION stage_batch, attach_batch, drop_batch, merge_prices FROM PUBLIC;
GRANT EXECUTE ON FUNCTION stage_batch, attach_batch, drop_batch, merge_prices TO ratesflow_loader;

-- The loader: rows, but no definitions; nothing of the ledger is ever deleted.
GRANT SELECT, INSERT, UPDATE ON regions, ports, batches, shards TO ratesflow_loader;
GRANT SELECT, UPDATE ON reference_version, data_version TO ratesflow_loader;
GRANT USAGE ON SEQUENCE reference_changes TO ratesflow_loader;
GRANT SELECT, INSERT, DELETE ON rates, visible_batches TO ratesflow_loader;
GRANT SELECT, INSERT, UPDATE, DELETE ON changes TO ratesflow_loader;
GRANT SELECT ON prices, price_tables, port_regions, daily_rates, committed_prices TO ratesflow_loader;

-- The API: what an answer needs, and nothing else.
GRANT SELECT ON rates, visible_batches, changes, data_version, ports, regions, port_regions TO ratesflow_reader;
