"""What Alembic runs: all steps within the transaction of the connection that it was given."""

from alembic import context

from aggregator.storage.schema import Base

connection = context.config.attributes["connection"]
if not connection.in_transaction():
    # Begun at the database already: Alembic must not end it as its own.
    connection.begin()
context.configure(connection=connection, target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
