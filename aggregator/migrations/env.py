"""What Alembic runs: all steps within the transaction of the connection that it was given."""

from alembic import context

from aggregator.storage.schema import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
