"""The files that use PostgreSQL's superuser, which on RDS only AWS has."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("api", "benchmarks", "database", "loader", "local", "tests", "workflow")
ALLOWED = {
    "benchmarks/servers.py": "drops databases where autovacuum may be at work",
    "local/postgres/server.py": "starts the server, and creates its master",
    "local/postgres/rds_master.py": "creates the master",
    "tests/api/cache/test_replicas_behind.py": "pauses the replay of a standby",
    "tests/faults/campaign/chaos_stack.py": "passes it to logins and standbys",
    "tests/faults/readers/logins.py": "builds the URL from a stack's passwords",
    "tests/faults/readers/standbys.py": "copies standbys, pauses and delays their replay",
    "tests/faults/campaign/database_faults.py": "makes a whole server read-only",
    "tests/fix_database.py": "drops databases where autovacuum may be at work",
    "tests/loader/tasks/test_standby.py": "copies a standby",
    "tests/local/postgres/test_server.py": "creates data without a master",
}
"""Files and what they do as the superuser; of the product only the start of the embedded server."""


def test_superuser_is_used_only_in_listed_files() -> None:
    """All other files connect as the master, as on RDS, or as one of its logins."""
    files = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if path != Path(__file__))
    found = {str(path.relative_to(ROOT)) for path in files if re.search(r"\bsuperuser_url\b", path.read_text())}
    assert found == set(ALLOWED)
