"""The database: SQLite or PostgreSQL, behind transactions that are functions."""

import asyncio
import contextlib
import json
import math
import secrets
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from ..errors import FieldViolation, InvalidField, ModelwireError, StorageFull, StorageUnavailable
from .migrations import migrate
from .neighbours import Neighbours

T = TypeVar("T")

# What a store function takes: a connection inside a transaction.
Transaction = sa.Connection

# PostgreSQL's codes (SQLSTATE) for: serialization failure, deadlock.
_COLLISIONS = ("40001", "40P01")
# Its classes for: connections, resources, intervention of an operator such as a shutdown.
_GOING = ("08", "53", "57")
_DISK_FULL = ("53100", "disk is full", "disk I/O error")
# Another transaction may win a race again and again, but not for ever.
_TRIES = 5
# A connection that was in use so short a time ago is taken to live.
_TRUSTED_SECONDS = 1.0


class Database:
    """Runs functions inside transactions, in threads of its own.

    On SQLite all writes go through one thread, so that none meets a lock; readers have a snapshot each (WAL) and never wait for it.
    Where several processes of one machine share the file, they write in turns: `neighbours`.
    PostgreSQL takes several writers; a function that collides with another is run again, so it must change nothing but the database.
    """

    def __init__(self, engine: sa.Engine, *, readers: int, neighbours: Neighbours | None = None) -> None:
        self.engine = engine.execution_options(neighbours=neighbours)
        self.is_shared = engine.dialect.name == "postgresql"
        self.has_company = self.is_shared or neighbours is not None
        self._neighbours = neighbours
        # A transaction for a few reads would cost more than the reads. SQLite's connections are set up so from the start.
        self._reading_engine = engine.execution_options(isolation_level="AUTOCOMMIT") if self.is_shared else engine
        self._writers = ThreadPoolExecutor(readers if self.is_shared else 1, thread_name_prefix="database-write")
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="database-read")

    @classmethod
    async def open(cls, url: str, *, readers: int = 4, neighbours: Neighbours | None = None) -> "Database":
        """Connects, and brings the tables to the newest version. Raises StorageUnavailable, InvalidField."""
        database = cls(make_engine(url, readers), readers=readers, neighbours=neighbours)
        await database.migrate()
        return database

    async def migrate(self, revision: str = "head") -> None:
        """Brings the tables to a newer version. Raises StorageUnavailable."""
        await asyncio.to_thread(_translated, lambda: migrate(self.engine, revision))

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Runs `work` and returns what it returns. Raises StorageUnavailable."""
        return await self._in(self._readers, lambda: self._reading(work))

    async def snapshot(self, work: Callable[[Transaction], T]) -> T:
        """Runs `work` on one state of the data, however long it takes. Raises StorageUnavailable."""
        return await self._in(self._readers, lambda: self._on_snapshot(work))

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Runs `work` in one transaction: all of it is durable when this returns, none of it if `work` raises. Raises StorageFull,
        StorageUnavailable."""
        return await self._in(self._writers, lambda: self._writing(work))

    async def check(self) -> None:
        """Raises StorageUnavailable if the database does not answer."""
        await self.read(lambda tx: tx.execute(sa.select(1)))

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writers.shutdown()
        self._readers.shutdown()
        self.engine.dispose()
        if self._neighbours is not None:
            self._neighbours.close()

    async def _in(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, _translated, work)

    def _reading(self, work: Callable[[Transaction], T]) -> T:
        with self._reading_engine.connect() as connection:
            return work(connection)

    def _on_snapshot(self, work: Callable[[Transaction], T]) -> T:
        engine = self.engine.execution_options(isolation_level="REPEATABLE READ") if self.is_shared else self.engine
        with engine.connect() as connection, connection.begin():
            if not self.is_shared:
                connection.exec_driver_sql("BEGIN")
            return work(connection)

    def _writing(self, work: Callable[[Transaction], T]) -> T:
        for _ in range(_TRIES - 1):
            try:
                return self._write_once(work)
            except (IntegrityError, OperationalError) as error:
                # Somebody else was faster: what `work` finds now tells it so.
                if not self.is_shared or (isinstance(error, OperationalError) and _sqlstate(error) not in _COLLISIONS):
                    raise
        return self._write_once(work)

    def _write_once(self, work: Callable[[Transaction], T]) -> T:
        turn = contextlib.nullcontext() if self._neighbours is None else self._neighbours.writing()
        with turn, self.engine.connect() as connection, connection.begin():
            if not self.is_shared:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            return work(connection)


def make_engine(url: str, readers: int) -> sa.Engine:
    """An engine whose connections are kept, one for each thread. Raises InvalidField if the URL is not of a database that can be used."""
    target = database_url(url)
    engine = sa.create_engine(target, pool_size=2 * readers + 1, max_overflow=0, pool_use_lifo=True, json_serializer=_json)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_up_sqlite)
    else:
        _check_idle_connections(engine)
    # Tells this process's own notifications from those of others.
    return engine.execution_options(sender=secrets.token_hex(8))


def _json(document: Any) -> str:
    """What JSON has no numbers for - NaN, infinities - goes as text, as protobuf writes it: PostgreSQL takes nothing else."""
    try:
        return json.dumps(document, allow_nan=False)
    except ValueError:
        return json.dumps(_without_nan(document), allow_nan=False)


def _without_nan(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case dict():
            return {key: _without_nan(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_without_nan(inner) for inner in value]
    return value


def _check_idle_connections(engine: sa.Engine) -> None:
    """Asks a connection whether it still lives before it is used, unless that was found out a moment ago: a busy server would ask a
    dozen times for each job."""

    def note(connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["lived_at"] = time.monotonic()

    def check(connection: Any, record: ConnectionPoolEntry, proxy: Any) -> None:
        if time.monotonic() - record.info.get("lived_at", 0.0) < _TRUSTED_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise sa.exc.DisconnectionError from error

    sa.event.listen(engine, "checkin", note)
    sa.event.listen(engine, "checkout", check)


def database_url(text: str) -> sa.URL:
    """What a user writes, as SQLAlchemy wants it: `postgresql://` means psycopg. Raises InvalidField."""
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError:
        raise _no_database(text) from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        raise _no_database(url.render_as_string(hide_password=True))
    return url


def _no_database(text: str) -> InvalidField:
    return InvalidField.of(
        FieldViolation("database_url", f"{text!r} is neither sqlite:///FILE nor postgresql://USER@HOST/DATABASE")
    )


def _set_up_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    """WAL, so that readers and the writer do not wait for each other; transactions begin where we say so."""
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _translated(work: Callable[[], T]) -> T:
    """Runs `work`; what the database cannot do becomes an error of the domain."""
    try:
        return work()
    except DBAPIError as error:
        if (known := _in_own_words(error)) is None:
            raise
        raise known from error


def _in_own_words(error: DBAPIError) -> ModelwireError | None:
    text = f"{_sqlstate(error)} {error.orig}"
    if any(sign in text for sign in _DISK_FULL):
        return StorageFull("the disk that holds the database is full")
    if isinstance(error, DataError) and "NUL" in text:
        return InvalidField.of(FieldViolation("", "a text holds the character NUL, which cannot be stored"))
    if error.connection_invalidated or _sqlstate(error)[:2] in _GOING or _is_without_connection(error):
        first_line = str(error.orig).partition("\n")[0]
        return StorageUnavailable(f"the database does not answer: {first_line}")
    return None


def _is_without_connection(error: DBAPIError) -> bool:
    """Whether psycopg could not even ask the server: it has no SQLSTATE to tell then."""
    return isinstance(error, OperationalError) and type(error.orig).__module__.startswith("psycopg") and not _sqlstate(error)


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""
