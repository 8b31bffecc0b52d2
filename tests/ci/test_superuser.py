"""Who reaches PostgreSQL as its superuser, which on RDS nobody but AWS does."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("api", "benchmarks", "database", "loader", "local", "tests", "workflow")
ALLOWED = {
    "benchmarks/servers.py": "drops databases where autovacuum may be at work",
    "local/postgres/server.py": "starts the server, and has its master made",
    "local/postgres/rds_master.py": "makes the master",
    "tests/api/cache/test_replicas_behind.py": "stops the replay of a standby",
    "tests/faults/campaign/chaos_stack.py": "hands it to the two that follow",
    "tests/faults/readers/logins.py": "builds the address from the passwords of a stack",
    "tests/faults/readers/standbys.py": "copies standbys, stops their replay, lets them lag",
    "tests/faults/campaign/database_faults.py": "makes a whole server read-only",
    "tests/fix_database.py": "drops databases where autovacuum may be at work",
    "tests/loader/tasks/test_standby.py": "copies a standby",
    "tests/local/postgres/test_server.py": "makes data from before there was a master",
}
"""Files by what they do as the superuser. The product is not among them, but for the start of the embedded server."""


def test_superuser_is_used_only_in_listed_files() -> None:
    """Whatever else connects does so as the master of RDS or as a login that it made."""
    files = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if path != Path(__file__))
    found = {str(path.relative_to(ROOT)) for path in files if re.search(r"\bsuperuser_url\b", path.read_text())}
    assert found == set(ALLOWED)
