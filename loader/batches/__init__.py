"""A batch and its record: the object in S3, the ledger, shards, result documents."""
