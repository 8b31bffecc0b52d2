"""Loads files of freight prices from S3 into PostgreSQL, all of a file or none of it, and serves daily averages."""
