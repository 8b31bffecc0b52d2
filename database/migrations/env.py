"""Configure Alembic to run the migrations on the connection that `ratesflow.database.migrate` passes."""

from alembic import context

from ratesflow.database.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
