"""The SQL of the service. Each connection prepares all statements once, and then only executes them.

A request is one statement, so that the data version and the rates come from one snapshot. It returns one row for each
month with rates, or a single row without a month if there are none::

    nth, epoch, version, seen, orig_known, dest_known, month, counts, sums

`version` is the latest version that the server has replayed; `seen` is the version of the rates: the requested one if
that state can still be read, otherwise `version`.

A location is looked up only if it has no rates that show that it exists.

One statement reads several lanes (see `query_batcher`); `nth` numbers them, from 1. Parameters are lists with commas,
which no location contains, and results are JSON: psycopg2 takes three times as long for arrays.
"""

from ratesflow.api.models.rates import Kind
from ratesflow.api.models.versions import MAX_CHANGES

# Plans are made once, when the tables may still be empty: without enable_seqscan = off such a plan would scan a table
# that has grown since. JIT would compile for longer than these statements run.
SETTINGS = """
SET default_transaction_read_only = on;
SET statement_timeout = {milliseconds};
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET jit = off;
"""

# An earlier state can be read unless later rates have been merged into earlier ones, ports or regions have changed
# since, or the changes are no longer recorded. The subquery does not depend on the outer query, so it runs once, and so
# does the list of batches that is made from it, which is then hashed.
STATE = """
WITH state AS MATERIALIZED (
    SELECT epoch::text AS epoch, version, CASE
        WHEN {as_of} < version AND merged_version <= {as_of} AND (
            SELECT count(DISTINCT changes.version) = data_version.version - {as_of} AND bool_and(lanes IS NOT NULL)
            FROM changes WHERE changes.version > {as_of}
        ) THEN {as_of} ELSE version END AS seen
    FROM data_version
)"""
OPEN = "(SELECT batch_no FROM visible_batches WHERE visible_batches.version <= (SELECT seen FROM state))"
# Stands for the latest version.
LATEST = 2**63 - 1

# Two ports, or two regions: such a lane is stored, one row for each month and visible batch. No code of a port is also
# the slug of a region, so both tables may be searched. The planner does not know how few lanes are requested: OFFSET 0
# prevents a join of all rates, and IS TRUE (instead of EXISTS) a hash of all ports.
LANES = """
PREPARE rates_lanes (text, text, text, text, bigint) AS {state}
SELECT
    nth::integer,
    epoch,
    version,
    seen,
    month IS NOT NULL
        OR (SELECT true FROM ports WHERE code = orig) IS TRUE OR (SELECT true FROM regions WHERE slug = orig) IS TRUE,
    month IS NOT NULL
        OR (SELECT true FROM ports WHERE code = dest) IS TRUE OR (SELECT true FROM regions WHERE slug = dest) IS TRUE,
    month,
    array_to_json(counts),
    array_to_json(sums)
FROM state
CROSS JOIN unnest(
    string_to_array($1, ','), string_to_array($2, ','),
    string_to_array($3, ',')::date[], string_to_array($4, ',')::date[]
) WITH ORDINALITY AS requested (orig, dest, first, last, nth)
LEFT JOIN LATERAL (
    SELECT month, counts, sums
    FROM rates
    WHERE orig_code = orig AND dest_code = dest AND month BETWEEN first AND last
        AND batch_no IN {open}
    OFFSET 0
) AS months ON true;
"""

# A port and a region: the sum over the lanes of the region's ports. The inner OFFSET 0 filters by visible_batches
# before the days are unfolded.
SUMS = """
PREPARE rates_{orig}_{dest} (text, text, date, date, bigint) AS {state}
SELECT
    1,
    epoch,
    version,
    seen,
    month IS NOT NULL OR EXISTS (SELECT FROM {orig}s WHERE {orig_key} = $1),
    month IS NOT NULL OR EXISTS (SELECT FROM {dest}s WHERE {dest_key} = $2),
    month,
    array_to_json(counts),
    array_to_json(sums)
FROM state LEFT JOIN (
    SELECT month, array_agg(count ORDER BY nth) AS counts, array_agg(sum ORDER BY nth) AS sums
    FROM (
        SELECT month, nth, sum(days.count) AS count, sum(days.sum)::bigint AS sum
        FROM (
            SELECT month, counts, sums
            FROM rates
            WHERE orig_code = {origs} AND dest_code = {dests} AND month BETWEEN $3 AND $4
                AND batch_no IN {open}
            OFFSET 0
        ) AS lanes
        CROSS JOIN LATERAL unnest(counts, sums) WITH ORDINALITY AS days (count, sum, nth)
        GROUP BY month, nth
    ) AS totals
    GROUP BY month
) AS months ON true;
"""

# As an array, the ports are keys of one index scan, whatever number of them the planner expects.
PORTS_UNDER = """ANY (ARRAY(
                WITH RECURSIVE inside (slug) AS (
                    SELECT {region} COLLATE "C"
                    UNION
                    SELECT regions.slug FROM regions JOIN inside ON regions.parent_slug = inside.slug
                )
                SELECT code FROM ports WHERE parent_slug IN (SELECT slug FROM inside)
            ))"""

UNDER: dict[tuple[Kind, Kind], tuple[str, str]] = {
    ("port", "region"): ("$1", PORTS_UNDER.format(region="$2")),
    ("region", "port"): (PORTS_UNDER.format(region="$1"), "$2"),
}
KEYS: dict[Kind, str] = {"port": "code", "region": "slug"}

# Candidates for a misspelled location $1: every region, and the ports of the same country or with a name that contains
# it. Only run for an unknown location.
SIMILAR = """
PREPARE locations_similar (text) AS
SELECT location, name, named
FROM (
    SELECT code AS location, name, strpos(lower(name), lower($1)) > 0 AS named FROM ports
    WHERE starts_with(code, upper(left($1, 2))) OR strpos(lower(name), lower($1)) > 0
    UNION ALL
    SELECT slug, name, strpos(lower(name), lower($1)) > 0 FROM regions
) AS candidates
ORDER BY named DESC, location
LIMIT 500;
"""

# The latest version, and the changes of each version since $1, with a maximum number of versions.
CHANGES = """
PREPARE poll_version (bigint) AS
SELECT epoch::text, data_version.version, since, changes.version, lanes
FROM data_version
CROSS JOIN LATERAL (SELECT greatest($1, data_version.version - {most}) AS since OFFSET 0) AS bounded
LEFT JOIN changes ON changes.version > since
ORDER BY changes.version;
"""

REFERENCE = """
PREPARE reference_data (bigint) AS {state}
SELECT
    1,
    epoch,
    version,
    seen,
    (SELECT coalesce(json_agg(json_build_array(code, name, parent_slug) ORDER BY code), '[]') FROM ports),
    (SELECT coalesce(json_agg(json_build_array(slug, name, parent_slug) ORDER BY slug), '[]') FROM regions)
FROM state;
"""

RATES_OF_LANES = "EXECUTE rates_lanes (%s, %s, %s, %s, %s)"
RATES: dict[tuple[Kind, Kind], str] = {
    (orig, dest): f"EXECUTE rates_{orig}_{dest} (%s, %s, %s, %s, %s)" for orig, dest in UNDER
}
LOCATIONS_SIMILAR = "EXECUTE locations_similar (%s)"
POLL = "EXECUTE poll_version (%s)"
REFERENCE_DATA = "EXECUTE reference_data (%s)"
PING = "SELECT 1"


def session(timeout_seconds: float) -> str:
    """Return the SQL that a new connection runs first: its settings, and the statements to prepare."""
    state = STATE.format(as_of="$5")
    statements = [
        SETTINGS.format(milliseconds=max(1, int(timeout_seconds * 1000))),
        LANES.format(state=state, open=OPEN),
        CHANGES.format(most=MAX_CHANGES),
        REFERENCE.format(state=STATE.format(as_of="$1")),
        SIMILAR,
    ]
    for (orig, dest), (origs, dests) in UNDER.items():
        names = {"orig": orig, "dest": dest, "orig_key": KEYS[orig], "dest_key": KEYS[dest]}
        statements.append(SUMS.format(**names, origs=origs, dests=dests, state=state, open=OPEN))
    return "".join(statements)
