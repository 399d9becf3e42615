"""Room for unfinished files, for each process its own."""

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

from ...clock import new_id


class Scratch:
    """A folder that belongs to this process. Others see by its lock that its owner lives, and remove it once the owner is gone."""

    def __init__(self, parent: Path) -> None:
        name = new_id()
        self.path = parent / name
        self._lock = parent / f"{name}.lock"
        self._handle = -1

    def open(self) -> None:
        """Makes the folder and removes those whose owner is gone."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Another process may take a lock file for abandoned before it is locked, and remove it.
        while self._handle < 0 or not _is_at(self._handle, self._lock):
            if self._handle >= 0:
                os.close(self._handle)
            self._handle = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._handle, fcntl.LOCK_EX)
        self.path.mkdir()
        remove_abandoned(self.path.parent)

    def close(self) -> None:
        """Removes the folder and all in it."""
        _remove(self.path)
        self._lock.unlink(missing_ok=True)
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def remove_abandoned(parent: Path) -> None:
    """Removes scratch folders that nobody holds."""
    for lock in list(parent.glob("*.lock")):
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            _remove_unless_locked(lock)
    for path in list(parent.iterdir()):
        # A folder is made after its lock and removed before it.
        if path.suffix != ".lock" and not path.with_suffix(".lock").exists():
            _remove(path)


def _remove_unless_locked(lock: Path) -> None:
    handle = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(lock.with_suffix(""))
        lock.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
