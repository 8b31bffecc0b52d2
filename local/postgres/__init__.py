"""The embedded PostgreSQL, with a master user as on RDS."""
