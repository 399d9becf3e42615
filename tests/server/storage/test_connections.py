"""Connections to PostgreSQL that end while nobody uses them, as when it restarts or a firewall forgets them."""

import asyncio

import psycopg
import pytest
import sqlalchemy as sa

from modelwire_server.database import engine
from modelwire_server.database.engine import Database
from modelwire_server.errors import StorageUnavailable

ONE = sa.select(1)


def test_a_connection_that_ended_while_idle_is_replaced(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if it had been idle for long.
    monkeypatch.setattr(engine, "_TRUSTED_SECONDS", 0.0)

    async def use() -> None:
        database = await Database.open(postgres_url)
        try:
            end_connections(postgres_url)
            assert await database.read(lambda tx: tx.execute(ONE).scalar_one()) == 1
            end_connections(postgres_url)
            assert await database.write(lambda tx: tx.execute(ONE).scalar_one()) == 1
        finally:
            await database.close()

    asyncio.run(use())


def test_one_that_ended_a_moment_ago_is_told_as_unavailable_once(postgres_url: str) -> None:
    async def use() -> None:
        database = await Database.open(postgres_url)
        try:
            await database.check()
            end_connections(postgres_url)
            with pytest.raises(StorageUnavailable):
                await database.check()
            await database.check()
        finally:
            await database.close()

    asyncio.run(use())


def end_connections(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
