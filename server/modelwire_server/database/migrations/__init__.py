"""Brings a database to the newest version of the tables.

Alembic takes longer to import than most of the server, and is needed only where something is to be migrated: so it is imported then.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from alembic.config import Config

# PostgreSQL's locks of applications are numbers: "modelwir" in ASCII.
_LOCK = int.from_bytes(b"modelwir")


def migrate(engine: sa.Engine, revision: str = "head") -> None:
    """Applies all migrations up to a revision that the database does not have yet, in one transaction. One server does so at a
    time."""
    if revision == "head" and _is_current(engine):
        return
    from alembic import command

    with engine.connect() as connection, connection.begin():
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        command.upgrade(alembic_config(connection), revision)


def revision_of(connection: sa.Connection) -> str | None:
    """The version of the database's tables; None if it has none."""
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def known_revisions() -> list[str]:
    """All versions of the tables, the newest first."""
    from alembic.script import ScriptDirectory

    return [script.revision for script in ScriptDirectory(str(Path(__file__).parent)).walk_revisions()]


def _is_current(engine: sa.Engine) -> bool:
    newest = max(path.name for path in (Path(__file__).parent / "versions").glob("*.py")).partition("_")[0]
    try:
        with engine.connect() as connection:
            return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all() == [newest]
    except sa.exc.DBAPIError:
        # There is no such table, as a rule; whatever else it is, the migration will tell.
        return False


def alembic_config(connection: sa.Connection) -> "Config":
    """Alembic's settings, without a file: it works on the given connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config
