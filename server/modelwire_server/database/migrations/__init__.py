"""Brings a database to the newest version of the tables.

Alembic takes longer to import than most of the server, and 8 MB that a server would keep for ever; it is needed only where something is
to be migrated: so it is imported then. A database that is empty gets the tables as they are now.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..tables import metadata

if TYPE_CHECKING:
    from alembic.config import Config

# PostgreSQL's locks of applications are numbers: "modelwir" in ASCII.
_LOCK = int.from_bytes(b"modelwir")
# Alembic's own, where it keeps which migrations were applied.
_version = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def migrate(engine: sa.Engine, revision: str = "head") -> None:
    """Applies all migrations up to a revision that the database does not have yet, in one transaction. One server does so at a
    time."""
    if revision == "head" and _is_current(engine):
        return
    with engine.connect() as connection, connection.begin():
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        if revision == "head" and not sa.inspect(connection).get_table_names():
            _create(connection)
        else:
            _upgrade(connection, revision)


def _create(connection: sa.Connection) -> None:
    """What all migrations together lead to."""
    metadata.create_all(connection, checkfirst=False)
    _version.create(connection)
    connection.execute(_version.insert().values(version_num=_newest()))


def _upgrade(connection: sa.Connection, revision: str) -> None:
    from alembic import command

    command.upgrade(alembic_config(connection), revision)


def revision_of(connection: sa.Connection) -> str | None:
    """The version of the database's tables; None if it has none."""
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def known_revisions() -> list[str]:
    """All versions of the tables, the newest first."""
    from alembic.script import ScriptDirectory

    return [script.revision for script in ScriptDirectory(str(Path(__file__).parent)).walk_revisions()]


def _newest() -> str:
    return max(path.name for path in (Path(__file__).parent / "versions").glob("*.py")).partition("_")[0]


def _is_current(engine: sa.Engine) -> bool:
    try:
        with engine.connect() as connection:
            return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all() == [_newest()]
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
