"""Who follows a source, among all servers on a database."""

import fcntl
import hashlib
import os
from contextlib import ExitStack

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ..database.engine import Database

_CONNECT_SECONDS = 5


class Claim:
    """The right to follow a source, which one process at a time has: on PostgreSQL for as long as its connection lives, on SQLite, whose
    database belongs to one server, for as long as a file is locked. All methods block."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._held = ExitStack()
        self._connection: sa.Connection | None = None

    def take(self) -> bool:
        """Whether this process has the right now."""
        self.release()
        try:
            is_mine = self._lock_in_database() if self._database.is_shared else self._lock_file()
        except (DBAPIError, OSError):
            is_mine = False
        if not is_mine:
            self.release()
        return is_mine

    def holds(self) -> bool:
        """Whether the right that was taken is still there."""
        try:
            return self._connection is None or bool(self._connection.execute(sa.select(sa.true())).scalar_one())
        except DBAPIError:
            return False

    def release(self) -> None:
        """Leaves it to others."""
        self._connection = None
        self._held.close()

    def _lock_in_database(self) -> bool:
        patience = {"connect_timeout": _CONNECT_SECONDS}
        engine = sa.create_engine(
            self._database.engine.url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT", connect_args=patience
        )
        self._connection = self._held.enter_context(engine.connect())
        number = int.from_bytes(hashlib.sha256(self._name.encode()).digest()[:8], signed=True)
        return bool(self._connection.execute(sa.select(sa.func.pg_try_advisory_lock(number))).scalar_one())

    def _lock_file(self) -> bool:
        file = self._database.engine.url.database
        lock = os.open(f"{file}-{self._name}", os.O_RDWR | os.O_CREAT, 0o600)
        self._held.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
