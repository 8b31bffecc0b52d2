"""The tables, as SQLAlchemy sees them; the migrations build exactly these (a test compares both).

Words are those of the design: a *batch* is one object in S3 and all its rows, the *ledger* is the
table ``batches``, a *rate* is how many prices a lane has on a day and their average.
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

# States of a batch in the ledger, the first is where it starts.
STATES = ("open", "committed", "rejected", "duplicate", "failed", "undone")

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

# Keys are compared byte by byte: faster than a language's order, and the same on every system.
Key = Text(collation="C")

# A tree of any depth; disjoint from port codes, since slugs are lower case and codes are upper case.
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
    CheckConstraint(r"slug ~ '^[a-z0-9][a-z0-9_-]*$'", name="slug"),
)

# UN/LOCODE: two letters of the country, three of letters or the digits 2 to 9 (UNECE Recommendation 16).
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
    CheckConstraint("code ~ '^[A-Z]{2}[A-Z2-9]{3}$'", name="code"),
)

# One row, moved by every change of ports or regions: a batch remembers which tree it was counted with.
reference_version = Table(
    "reference_version",
    metadata,
    Column("only_row", Boolean, server_default=true()),
    Column("version", BigInteger, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("only_row"),
    CheckConstraint("only_row", name="only_row"),
)

# The ledger: every batch that was ever seen.
batches = Table(
    "batches",
    metadata,
    Column("batch_no", BigInteger, Identity(always=True)),
    Column("batch_id", Text, nullable=False, comment="the name of its execution"),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    Column("bucket", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("version", Text, nullable=False, comment="the object's version in S3"),
    Column("bytes", BigInteger),
    Column("digest", Text, comment="SHA-256 over the SHA-256s of its parts of 8 MiB"),
    Column("forced", Boolean, nullable=False, server_default=false()),
    Column("rows", BigInteger),
    Column("rejected_rows", BigInteger),
    Column("duplicate_of", BigInteger, ForeignKey("batches.batch_no")),
    Column("reference_version", BigInteger, comment="of the tree of regions that its rates were counted with"),
    Column(
        "rates_digest",
        Text,
        comment="of its rates between ports: the same prices in another wrapping have the same",
    ),
    Column(
        "same_prices_as",
        BigInteger,
        ForeignKey("batches.batch_no"),
        comment="another committed batch with the same rates and other bytes",
    ),
    Column("report", Text, comment="s3:// address of its validation report"),
    Column("execution_arn", Text),
    Column("message", Text, comment="why it was refused or failed, in words"),
    Column("seconds", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="by step"),
    Column("opened_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("closed_at", DateTime(timezone=True), comment="when it left the state open"),
    Column("notified", Boolean, comment="by gc; null where the execution sends the notification"),
    Column("dropped_at", DateTime(timezone=True), comment="when its prices were dropped, if it does not count"),
    PrimaryKeyConstraint("batch_no"),
    UniqueConstraint("batch_id"),
    CheckConstraint(f"state IN ({', '.join(repr(state) for state in STATES)})", name="state"),
)
# The same bytes are committed once, unless a person forced them.
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

# What each shard of a task has done; a task that is not split is shard 0 of 1. The prices of a large shard are
# loaded by two connections; the second half has a claim of its own.
shards = Table(
    "shards",
    metadata,
    Column("batch_no", BigInteger, ForeignKey("batches.batch_no")),
    Column("task", Text),
    Column("shard", Integer),
    Column("pid", Integer, comment="of the backend that works on it"),
    Column("backend_start", DateTime(timezone=True)),
    Column("done_at", DateTime(timezone=True)),
    Column("rows", BigInteger),
    Column("result", JSONB, comment="what the merge of the shards needs"),
    PrimaryKeyConstraint("batch_no", "task", "shard"),
    CheckConstraint("task IN ('validate', 'load', 'second_half')", name="task"),
)

# The record, for audit, undo and rebuilding; the API never reads it. A partition is one batch's staging
# table, or several old batches merged. No foreign keys: validation checks the codes, and each would cost
# a fifth of a second a million rows and a lock on ports.
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

# What the API reads: one row a batch, lane and month, with one element a day of the month. A row counts
# only if its batch is in visible_batches. Lanes run from port to port or from region to region.
rates = Table(
    "rates",
    metadata,
    Column("batch_no", BigInteger, nullable=False),
    Column("month", Date, nullable=False, comment="its first day"),
    Column("orig_code", Key, nullable=False, comment="a port's code, or a region's slug"),
    Column("dest_code", Key, nullable=False, comment="of the same kind as orig_code"),
    Column("counts", ARRAY(BigInteger), nullable=False, comment="prices on each day of the month"),
    Column("sums", ARRAY(BigInteger), nullable=False, comment="their sum on each day, in US dollars"),
    # One element a day, no more and no fewer: batches are added up element by element.
    CheckConstraint(
        "cardinality(counts) = extract(day FROM month + '1 mon -1 days'::interval)"
        " AND cardinality(sums) = cardinality(counts)",
        name="days",
    ),
    # Truncation takes an exclusive lock, which readers (and standbys above all) would feel.
    postgresql_with={"vacuum_truncate": "off"},
)
Index("rates_lane_month", rates.c.orig_code, rates.c.dest_code, rates.c.month)
Index("rates_batch_no", rates.c.batch_no, postgresql_where=text("batch_no <> 0"))

# The batches whose rates count. Number 0 stands for merged rates and is always here.
visible_batches = Table(
    "visible_batches",
    metadata,
    Column("batch_no", BigInteger, autoincrement=False),
    Column("version", BigInteger, nullable=False, comment="the data version from which on its rates count"),
    PrimaryKeyConstraint("batch_no"),
)

# What each data version changed, so that who knows older answers forgets no others.
changes = Table(
    "changes",
    metadata,
    Column("batch_no", BigInteger, autoincrement=False),
    Column("version", BigInteger, comment="the data version that it made; null until then"),
    Column("lanes", LargeBinary, comment="a bitmap of the lanes that it touches, by hash; null for all"),
    PrimaryKeyConstraint("batch_no"),
)
Index("changes_version", changes.c.version)

# One row, moved last in every transaction that changes what is visible, so that it follows commit order.
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
        comment="the newest version of which rates may be merged: older states cannot be read",
    ),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("only_row"),
    CheckConstraint("only_row", name="only_row"),
)
