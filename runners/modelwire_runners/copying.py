"""Copies of files that cost as little as the file system allows, and files that many workspaces share."""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .project import Content, content_of

# Linux: share the blocks of another file (btrfs, XFS, bcachefs ...).
_FICLONE = 0x40049409
_NOT_SUPPORTED = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EBADF, errno.EPERM)
# The time of all shared files; one that was written to has another.
_TIME_NS = 315_532_800 * 10**9
_CHUNK = 1 << 30


class Copier:
    """Copies content, mode and time of files. What the file systems cannot do is tried once."""

    def __init__(self) -> None:
        self._clones = True

    def copy(self, source: Path, target: Path, mode: int | None = None) -> os.stat_result:
        """Copies a file to a new place; returns what the source was when its bytes were all read. Raises OSError."""
        with source.open("rb", buffering=0) as reader, target.open("xb", buffering=0) as writer:
            if not self._clone(reader.fileno(), writer.fileno()):
                _copy_bytes(reader.fileno(), writer.fileno())
            found = os.fstat(reader.fileno())
            os.fchmod(writer.fileno(), found.st_mode & 0o777 if mode is None else mode)
            os.utime(writer.fileno(), ns=(found.st_atime_ns, found.st_mtime_ns))
        return found

    def _clone(self, source: int, target: int) -> bool:
        if self._clones:
            try:
                fcntl.ioctl(target, _FICLONE, source)
            except OSError as error:
                if error.errno not in _NOT_SUPPORTED:
                    raise
                self._clones = False
        return self._clones


def _copy_bytes(source: int, target: int) -> None:
    try:
        while os.copy_file_range(source, target, _CHUNK):
            pass
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
        with open(source, "rb", closefd=False) as reader, open(target, "wb", closefd=False) as writer:
            shutil.copyfileobj(reader, writer)


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A file in the cache. Its name tells what it is as long as nobody has written to it."""

    path: Path
    size: int
    modified: int

    def is_intact(self) -> bool:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.size, self.modified)

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)


class SharedFiles:
    """Files of which many workspaces hold hard links: read-only, each stored once, on the workspaces' own file system.

    A link has no owner: who writes to a file through one changes it for all. That is noticed by its size and time (see SharedFile).
    """

    def __init__(self, folder: Path, copier: Copier, kept_seconds: float = 24 * 3600.0) -> None:
        """What nobody has a link to is dropped once it has been unused for so long."""
        self._folder = folder
        self._copier = copier
        self._kept_seconds = kept_seconds

    def link(self, source: Path, content: Content, mode: int, target: Path) -> SharedFile:
        """Makes `target` a link to the one copy of a file with this content. Raises OSError, also if the file has other content."""
        mode = 0o555 if mode & 0o100 else 0o444
        shared = SharedFile(self._folder / f"{content.digest.removeprefix('sha256:')}-{mode:o}", content.size, _TIME_NS)
        if shared.path.exists() and not shared.is_intact():
            shared.drop()
        try:
            os.link(shared.path, target)
        except FileNotFoundError:
            self._add(source, content, shared.path, mode)
            os.link(shared.path, target)
        return shared

    def _add(self, source: Path, content: Content, path: Path, mode: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._drop_unused()
        with tempfile.TemporaryDirectory(dir=self._folder) as aside:
            new = Path(aside) / "new"
            self._copier.copy(source, new, mode)
            if content_of(new) != content:
                raise OSError(errno.EBUSY, "the file was changed meanwhile", str(source))
            os.utime(new, ns=(_TIME_NS, _TIME_NS))
            new.replace(path)

    def _drop_unused(self) -> None:
        """The time of an inode's last change is that of its last link."""
        with os.scandir(self._folder) as found:
            for entry in found:
                with contextlib.suppress(FileNotFoundError):
                    state = entry.stat(follow_symlinks=False)
                    if entry.is_file() and state.st_nlink == 1 and state.st_ctime < time.time() - self._kept_seconds:
                        Path(entry.path).unlink()
