"""The way to the database: pool, batched queries, readers."""
