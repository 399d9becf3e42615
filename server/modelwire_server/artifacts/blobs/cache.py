"""Copies of content on the local disk, for content that lives elsewhere."""

import contextlib
import os
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from .disk import file_digest
from .names import digest_of, name_of

# Whoever was given a path may be about to open it.
KEPT_SECONDS = 600.0


@dataclass(slots=True)
class _Copy:
    """`used_at` is in seconds since 1970. A copy that was here before this process may have suffered, and is checked once."""

    size: int
    used_at: float
    checked: bool


class Cache:
    """Keeps copies below a folder. Beyond `max_bytes` those that were not used for longest go, but none that was used in the last
    `kept_seconds`. All methods may be called from any thread."""

    def __init__(self, folder: Path, max_bytes: int, kept_seconds: float = KEPT_SECONDS) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._kept_seconds = kept_seconds
        self._copies: OrderedDict[str, _Copy] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Size of all copies together."""
        return self._bytes

    def open(self) -> None:
        """Finds the copies of earlier processes."""
        self._folder.mkdir(parents=True, exist_ok=True)
        found = []
        for path in self._folder.glob("??/*"):
            digest = digest_of(f"{path.parent.name}/{path.name}")
            if digest is not None:
                state = path.stat()
                found.append((state.st_mtime, digest, state.st_size))
        with self._lock:
            for used_at, digest, size in sorted(found):
                self._remember(digest, _Copy(size, used_at, checked=False))
            self._evict()

    def find(self, digest: str) -> Path | None:
        """The path of a copy, if there is a good one."""
        path = self._folder / name_of(digest)
        with self._lock:
            copy = self._use(digest, path)
        if copy is not None and not copy.checked:
            copy.checked = _is_good(path, digest)
            if not copy.checked:
                self.drop(digest)
                return None
        return path if copy is not None else None

    def add(self, path: Path, digest: str) -> Path:
        """Takes over a file with the content, on the same file system; returns where it is now."""
        target = self._folder / name_of(digest)
        size = path.stat().st_size
        target.parent.mkdir(exist_ok=True)
        with self._lock:
            os.utime(path)
            path.replace(target)
            self._forget(digest)
            self._remember(digest, _Copy(size, time.time(), checked=True))
            self._evict()
        return target

    def drop(self, digest: str) -> None:
        """Removes a copy, if there is one."""
        with self._lock:
            self._forget(digest)
            (self._folder / name_of(digest)).unlink(missing_ok=True)

    def _use(self, digest: str, path: Path) -> _Copy | None:
        copy = self._copies.get(digest)
        if copy is None:
            return None
        try:
            os.utime(path)
        except FileNotFoundError:
            # Another process, or a person who needs space, removed it.
            self._forget(digest)
            return None
        copy.used_at = time.time()
        self._copies.move_to_end(digest)
        return copy

    def _remember(self, digest: str, copy: _Copy) -> None:
        self._copies[digest] = copy
        self._bytes += copy.size

    def _forget(self, digest: str) -> None:
        copy = self._copies.pop(digest, None)
        self._bytes -= copy.size if copy else 0

    def _evict(self) -> None:
        while self._bytes > self._max_bytes:
            digest, oldest = next(iter(self._copies.items()))
            if time.time() - oldest.used_at < self._kept_seconds:
                break
            self._forget(digest)
            (self._folder / name_of(digest)).unlink(missing_ok=True)


def _is_good(path: Path, digest: str) -> bool:
    with contextlib.suppress(OSError):
        return file_digest(path) == digest
    return False
