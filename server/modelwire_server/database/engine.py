"""The database: one writer, several readers, and transactions that are functions."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from ..errors import StorageFull
from .migrations import migrate

T = TypeVar("T")

# What a store function takes: a connection inside a transaction.
Transaction = sa.Connection


class Database:
    """Runs functions inside transactions, in threads of its own.

    On SQLite all writes go through one thread, so that none meets a lock; readers have a snapshot each (WAL) and never wait for it.
    """

    def __init__(self, engine: sa.Engine, *, readers: int) -> None:
        self._engine = engine
        writers = 1 if engine.dialect.name == "sqlite" else readers
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="database-write")
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="database-read")

    @classmethod
    async def open(cls, url: str, *, readers: int = 4) -> "Database":
        """Connects, and brings the tables to the newest version."""
        engine = make_engine(url, readers)
        await asyncio.to_thread(migrate, engine)
        return cls(engine, readers=readers)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Runs `work` on a consistent view of the data and returns what it returns."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._reading, work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Runs `work` in one transaction: all of it is durable when this returns, none of it if `work` raises. Raises StorageFull."""
        return await asyncio.get_running_loop().run_in_executor(self._writers, self._writing, work)

    async def check(self) -> None:
        """Raises if the database does not answer."""
        await self.read(lambda tx: tx.execute(sa.select(1)))

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writers.shutdown()
        self._readers.shutdown()
        self._engine.dispose()

    def _reading(self, work: Callable[[Transaction], T]) -> T:
        with self._engine.connect() as connection:
            return work(connection)

    def _writing(self, work: Callable[[Transaction], T]) -> T:
        try:
            with self._engine.connect() as connection, connection.begin():
                if self._engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                return work(connection)
        except OperationalError as error:
            if "disk is full" in str(error.orig) or "disk I/O error" in str(error.orig):
                raise StorageFull("the disk that holds the database is full") from error
            raise


def make_engine(url: str, readers: int) -> sa.Engine:
    """An engine whose connections are kept, one for each thread."""
    engine = sa.create_engine(url, pool_size=readers + 1, max_overflow=0, pool_use_lifo=True)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    """WAL, so that readers and the writer do not wait for each other; transactions begin where we say so."""
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
