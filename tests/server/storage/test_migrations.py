"""How a database comes to the tables of the code: all at once if it is empty, else by migrations."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from modelwire_server.database.engine import Database, make_engine
from modelwire_server.database.migrations import known_revisions, migrate, revision_of
from modelwire_server.database.tables import metadata

NEWEST = known_revisions()[0]


@contextmanager
def engine_of(url: str) -> Iterator[sa.Engine]:
    engine = make_engine(url, 1)
    try:
        yield engine
    finally:
        engine.dispose()


def described(connection: sa.Connection) -> dict[str, Any]:
    """All that the database knows of its tables, the order of columns aside, in which migrations differ."""
    seen = sa.inspect(connection)
    return {
        table: {
            "columns": sorted(map(repr, seen.get_columns(table))),
            "key": seen.get_pk_constraint(table),
            "foreign": sorted(map(repr, seen.get_foreign_keys(table))),
            "indexes": sorted(map(repr, seen.get_indexes(table))),
            "unique": sorted(map(repr, seen.get_unique_constraints(table))),
            "checks": sorted(map(repr, seen.get_check_constraints(table))),
        }
        for table in sorted(seen.get_table_names())
    }


def emptied(connection: sa.Connection) -> None:
    seen = sa.MetaData()
    seen.reflect(connection)
    seen.drop_all(connection)


def test_an_empty_database_gets_what_migrations_lead_to(database_url: str) -> None:
    with engine_of(database_url) as engine:
        migrate(engine)
        with engine.begin() as connection:
            at_once, revision = described(connection), revision_of(connection)
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
            emptied(connection)
        migrate(engine, "0001")
        migrate(engine)
        with engine.begin() as connection:
            assert described(connection) == at_once
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
            assert revision_of(connection) == revision == NEWEST


def test_a_database_that_is_new_is_not_migrated_again(database_url: str) -> None:
    async def twice() -> None:
        for _ in range(2):
            await (await Database.open(database_url)).close()

    asyncio.run(twice())


def test_tables_of_others_stay(database_url: str) -> None:
    with engine_of(database_url) as engine:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE others (id INTEGER PRIMARY KEY)")
        migrate(engine)
        with engine.connect() as connection:
            assert {"others", "jobs", "alembic_version"} <= set(sa.inspect(connection).get_table_names())
            assert revision_of(connection) == NEWEST


@pytest.mark.parametrize("module", ["alembic", "mako", "sqlalchemy.dialects.postgresql"])
def test_a_new_database_needs_no(tmp_path: Path, module: str) -> None:
    program = f"""
import asyncio, sys
from modelwire_server.artifacts import store
from modelwire_server.database.engine import Database

async def main():
    await (await Database.open({f"sqlite:///{tmp_path / 'new.db'}"!r})).close()

asyncio.run(main())
assert {module!r} not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
