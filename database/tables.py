"""The tables as SQLAlchemy metadata; the migrations create exactly these (a test compares both).

A *batch* is one object in S3 and all its rows, the *ledger* is the table ``batches``, and a *rate* is the number of
prices of a lane on a day and their average.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    func,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from ratesflow.database.reference import PORT_CODE, REGION_SLUG

# States of a batch in the ledger; the first is the initial one.
STATES = ("open", "committed", "rejected", "duplicate", "failed", "undone")

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

# Keys are compared byte by byte: faster than a locale's collation, and the same on every system.
Key = Text(collation="C")

# A tree of any depth. Slugs are lower case and port codes upper case, so they never collide.
regions = Table(
    "regions",
    metadata,
    Column("slug", Key),
    Column("name", Text, nullable=False),
    Column(
        "parent_slug",
        Key,
        ForeignKey("regions.slug", deferrable=True, initially="DEFERRED"),
        comment="the region that contains this one; null at the top",
    ),
    PrimaryKeyConstraint("slug"),
    CheckConstraint(f"slug ~ '^{REGION_SLUG.pattern}$'", name="slug"),
)

ports = Table(
    "ports",
    metadata,
    Column("code", Key),
    Column("name", Text, nullable=False),
    Column(
        "parent_slug",
        Key,
        ForeignKey("regions.slug", deferrable=True, initially="DEFERRED"),
        nullable=False,
        comment="the region that contains the port",
    ),
    PrimaryKeyConstraint("code"),
    CheckConstraint(f"code ~ '^{PORT_CODE.pattern}$'", name="code"),
)

# One row, updated by every change of ports or regions. A batch records the version that its rates were computed with.
reference_version = Table(
    "reference_version",
    metadata,
    Column("only_row", Boolean, server_default=true()),
    Column("version", BigInteger, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("only_row"),
    CheckConstraint("only_row", name="only_row"),
)

# The ledger: every batch ever seen.
batches = Table(
    "batches",
    metadata,
    Column("batch_no", BigInteger, Identity(always=True)),
    Column("batch_id", Text, nullable=False, comment="name of the execution"),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    Column("bucket", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("version", Text, nullable=False, comment="version of the object in S3"),
    Column("bytes", BigInteger),
    Column("digest", Text, comment="SHA-256 over the SHA-256s of its parts of 8 MiB"),
    Column("forced", Boolean, nullable=False, server_default=false()),
    Column("rows", BigInteger),
    Column("rejected_rows", BigInteger),
    Column("duplicate_of", BigInteger, ForeignKey("batches.batch_no")),
    Column("reference_version", BigInteger, comment="version of the tree of regions that its rates were computed with"),
    Column(
        "rates_digest",
        Text,
        comment="digest of its rates between ports: the same for the same prices in any file format",
    ),
    Column(
        "same_prices_as",
        BigInteger,
        ForeignKey("batches.batch_no"),
        comment="another committed batch with the same rates and different bytes",
    ),
    Column("report", Text, comment="s3:// URI of the validation report"),
    Column("execution_arn", Text),
    Column("message", Text, comment="why the batch was rejected or failed"),
    Column("seconds", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="duration of each step"),
    Column("opened_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("closed_at", DateTime(timezone=True), comment="when the batch left the state open"),
    Column("notified", Boolean, comment="whether gc has sent the notification; null if the execution sends it"),
    Column("dropped_at", DateTime(timezone=True), comment="when its prices were dropped, if it is not committed"),
    PrimaryKeyConstraint("batch_no"),
    UniqueConstraint("batch_id"),
    CheckConstraint(f"state IN ({', '.join(repr(state) for state in STATES)})", name="state"),
)
# The same bytes are committed once, unless the batch is forced.
Index(
    "batches_committed_digest",
    batches.c.digest,
    unique=True,
    postgresql_where=text("state = 'committed' AND NOT forced"),
)
Index("batches_digest", batches.c.digest, postgresql_where=text("state = 'committed'"))
Index("batches_rates_digest", batches.c.rates_digest, postgresql_where=text("state = 'committed'"))
Index("batches_key", batches.c.key)
Index("batches_open", batches.c.opened_at, postgresql_where=text("state = 'open'"))
Index(
    "batches_undone",
    batches.c.batch_no,
    postgresql_where=text("state = 'undone' AND dropped_at IS NULL"),
)
Index("batches_unnotified", batches.c.batch_no, postgresql_where=text("NOT notified"))

# The work of each shard of a task; a task that is not split is shard 0 of 1. Two connections load the prices of a large
# shard; the second half has its own row.
shards = Table(
    "shards",
    metadata,
    Column("batch_no", BigInteger, ForeignKey("batches.batch_no")),
    Column("task", Text),
    Column("shard", Integer),
    Column("pid", Integer, comment="process ID of the backend that works on it"),
    Column("backend_start", DateTime(timezone=True)),
    Column("done_at", DateTime(timezone=True)),
    Column("rows", BigInteger),
    Column("result", JSONB, comment="input for merging the shards"),
    PrimaryKeyConstraint("batch_no", "task", "shard"),
)

# The record of every price, for audit, undo and rebuilds; the API never reads it. A partition is the staging table of
# one batch, or several old batches merged. No foreign keys: validation checks the codes, and each key would cost
# 0.2 seconds per million rows and a lock on ports.
prices = Table(
    "prices",
    metadata,
    Column("batch_no", BigInteger, nullable=False),
    Column("day", Date, nullable=False),
    Column("price", Integer, nullable=False, comment="whole US dollars"),
    Column("orig_code", Key, nullable=False),
    Column("dest_code", Key, nullable=False),
    CheckConstraint("price > 0", name="price"),
    postgresql_partition_by="RANGE (batch_no)",
)

# What the API reads: one row per batch, lane and month, with one array element per day. A row counts only if its batch
# is in visible_batches. Lanes run from port to port or from region to region.
rates = Table(
    "rates",
    metadata,
    Column("batch_no", BigInteger, nullable=False),
    Column("month", Date, nullable=False, comment="first day of the month"),
    Column("orig_code", Key, nullable=False, comment="port code or region slug"),
    Column("dest_code", Key, nullable=False, comment="port code or region slug, of the same kind as orig_code"),
    Column("counts", ARRAY(BigInteger), nullable=False, comment="number of prices on each day of the month"),
    Column("sums", ARRAY(BigInteger), nullable=False, comment="sum of the prices on each day, in US dollars"),
    # Exactly one element per day: batches are summed element by element.
    CheckConstraint(
        "cardinality(counts) = extract(day FROM month + '1 mon -1 days'::interval)"
        " AND cardinality(sums) = cardinality(counts)",
        name="days",
    ),
    # Truncation takes an exclusive lock, which would block readers, above all on standbys.
    postgresql_with={"vacuum_truncate": "off"},
)
Index("rates_lane_month", rates.c.orig_code, rates.c.dest_code, rates.c.month)
Index("rates_batch_no", rates.c.batch_no, postgresql_where=text("batch_no <> 0"))

# The batches whose rates count. Number 0 stands for merged rates and is always present.
visible_batches = Table(
    "visible_batches",
    metadata,
    Column("batch_no", BigInteger, autoincrement=False),
    Column("version", BigInteger, nullable=False, comment="data version from which its rates count"),
    PrimaryKeyConstraint("batch_no"),
)

# What each data version changed, so that caches drop only the responses that it affects.
changes = Table(
    "changes",
    metadata,
    Column("batch_no", BigInteger, autoincrement=False),
    Column("version", BigInteger, comment="data version of the change; null until it is visible"),
    Column("lanes", LargeBinary, comment="bitmap of the hashes of the lanes that it touches; null means all lanes"),
    PrimaryKeyConstraint("batch_no"),
)
Index("changes_version", changes.c.version)

# One row, updated last in every transaction that changes visible data, so that it follows commit order.
data_version = Table(
    "data_version",
    metadata,
    Column("only_row", Boolean, server_default=true()),
    Column("epoch", Uuid, nullable=False, server_default=func.gen_random_uuid()),
    Column("version", BigInteger, nullable=False),
    Column(
        "merged_version",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="newest version whose rates may be merged; older states cannot be read",
    ),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("only_row"),
    CheckConstraint("only_row", name="only_row"),
)
