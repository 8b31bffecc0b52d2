"""Commands that maintain the database: rates, abandoned batches, schema, reference data."""
