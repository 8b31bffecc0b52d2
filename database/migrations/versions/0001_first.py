"""The first schema."""

from pathlib import Path

from alembic import op

from ratesflow.database.scripts import run_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_script(op.get_bind(), Path(__file__).with_suffix(".sql"))
