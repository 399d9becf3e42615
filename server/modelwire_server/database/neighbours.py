"""The processes of one machine that share an SQLite database: they write in turns, and tell each other what is new."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Neighbours:
    """The other processes. `send` takes a notice to them, from any thread, and never waits.

    SQLite's own way to wait for another writer is to look again and again for five seconds: neither fair nor certain. Here a lock on
    `file` keeps them in line.
    """

    def __init__(self, file: Path, send: Callable[[str], None]) -> None:
        self._handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._send = send
        self._notices: list[str] = []

    def tell(self, notice: str) -> None:
        """Sends a notice once the transaction under way is committed, if it is."""
        self._notices.append(notice)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around a transaction, from before its begin to after its end; in one thread at a time."""
        self._notices.clear()
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)
        for notice in dict.fromkeys(self._notices):
            self._send(notice)

    def close(self) -> None:
        os.close(self._handle)
