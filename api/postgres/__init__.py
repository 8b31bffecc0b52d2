"""Access to the database: the pool, batched queries, readers."""
