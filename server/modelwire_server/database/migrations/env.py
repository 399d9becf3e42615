"""Called by Alembic: runs migrations on the connection that migrate() gives."""

from alembic import context

from modelwire_server.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
