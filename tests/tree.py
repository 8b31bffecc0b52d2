"""The invariant that the rates of regions are the sum of the rates of the ports under them."""

# Returns a row for each lane between regions, month and day whose rates differ from the sum of the ports'. It is one
# statement so that tree, visible batches and rates are of one snapshot.
DISAGREE = """
WITH visible AS MATERIALIZED (
    SELECT month, orig_code, dest_code, nth, sum(count) AS count, sum(sum) AS sum
    FROM rates CROSS JOIN LATERAL unnest(counts, sums) WITH ORDINALITY AS day (count, sum, nth)
    WHERE batch_no IN (SELECT batch_no FROM visible_batches)
    GROUP BY month, orig_code, dest_code, nth
), expected AS (
    SELECT month, o.slug AS orig_code, d.slug AS dest_code, nth, sum(count) AS count, sum(sum) AS sum
    FROM visible
    JOIN port_regions o ON o.code = orig_code
    JOIN port_regions d ON d.code = dest_code
    GROUP BY month, o.slug, d.slug, nth
), found AS (
    SELECT visible.* FROM visible
    WHERE orig_code IN (SELECT slug FROM regions) AND dest_code IN (SELECT slug FROM regions)
)
SELECT orig_code, dest_code, month, nth, found.count, found.sum, expected.count, expected.sum
FROM found FULL JOIN expected USING (month, orig_code, dest_code, nth)
WHERE coalesce(found.count, 0) <> coalesce(expected.count, 0) OR coalesce(found.sum, 0) <> coalesce(expected.sum, 0)
"""

# The same for one month, which is fast enough for continuous readers.
DISAGREE_IN_MONTH = DISAGREE.replace("WHERE batch_no IN", "WHERE month = %(month)s AND batch_no IN")
