"""Loads files of freight prices from S3 into PostgreSQL, all of a file or none, and serves daily averages."""
