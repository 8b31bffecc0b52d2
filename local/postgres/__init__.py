"""The embedded PostgreSQL, and the master user that RDS would give."""
