"""Brings a database to the newest version of the tables."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

# PostgreSQL's locks of applications are numbers: "modelwir" in ASCII.
_LOCK = int.from_bytes(b"modelwir")


def migrate(engine: sa.Engine, revision: str = "head") -> None:
    """Applies all migrations up to a revision that the database does not have yet, in one transaction. One server does so at a
    time."""
    with engine.connect() as connection, connection.begin():
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        command.upgrade(alembic_config(connection), revision)


def revision_of(connection: sa.Connection) -> str | None:
    """The version of the database's tables; None if it has none."""
    return MigrationContext.configure(connection).get_current_revision()


def known_revisions() -> list[str]:
    """All versions of the tables, the newest first."""
    return [script.revision for script in ScriptDirectory(str(Path(__file__).parent)).walk_revisions()]


def alembic_config(connection: sa.Connection) -> Config:
    """Alembic's settings, without a file: it works on the given connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config
