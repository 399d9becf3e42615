"""The folder of a project: which of its files a script gets, and what is known of them."""

import hashlib
import os
import stat
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

IGNORE_FILE = ".modelwireignore"

# Build artefacts, virtual environments, files of version control and of editors, databases.
NEVER_COPIED = (
    *(".venv", "venv", "node_modules", "__pycache__", "*.pyc", "*.pyo", "*.egg-info"),
    *(".pytest_cache", ".mypy_cache", ".ruff_cache"),
    *(".git", ".gitignore", IGNORE_FILE, ".vscode", ".idea", ".DS_Store", "build", "dist", "*.so", "*.dylib"),
    *(f"*.{kind}{side}" for kind in ("db", "sqlite", "sqlite3") for side in ("", "-wal", "-shm", "-journal")),
)

_BLOCK = 1 << 20
# A file that was changed so shortly before may be changed once more without its time telling so.
_CLOCK_TICK_NS = 20_000_000


@dataclass(frozen=True, slots=True)
class Content:
    """What the bytes of a file are."""

    digest: str
    size: int
    crc32: int


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes when a file does."""

    size: int
    modified: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> "Stamp":
        return cls(found.st_size, found.st_mtime_ns, found.st_ino)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, symbolic link or folder below a root. `path` is relative, with slashes."""

    path: str
    found: os.stat_result
    is_empty: bool = False

    def is_settled(self, moment: int) -> bool:
        """Whether any change since a moment, in nanoseconds of the clock, would be seen by the file's times."""
        return max(self.found.st_mtime_ns, self.found.st_ctime_ns) < moment - _CLOCK_TICK_NS

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.found.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.found.st_mode)

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.found.st_mode)


def content_of(path: Path) -> Content:
    """Reads a file for its SHA-256 and its CRC-32."""
    sha256, crc32, size = hashlib.sha256(), 0, 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
            crc32 = zlib.crc32(block, crc32)
            size += len(block)
    return Content(f"sha256:{sha256.hexdigest()}", size, crc32)


def entries(root: Path, keeps: "Keeps | None" = None) -> Iterator[Entry]:
    """All that is below a folder, what is in a folder after the folder; of folders only what is kept is looked into. Sockets, pipes
    and devices are left out."""
    pending = [""]
    while pending:
        folder = pending.pop()
        for name, found in _listed(root, folder):
            path = f"{folder}{name}"
            if keeps is not None and not keeps(root, path, found):
                continue
            if stat.S_ISDIR(found.st_mode):
                yield Entry(path, found, is_empty=not any((root / path).iterdir()))
                pending.append(f"{path}/")
            elif stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode):
                yield Entry(path, found)


def leads_inside(root: Path, path: str, target: str) -> bool:
    """Whether a symbolic link stays below the root."""
    if target.startswith("/"):
        return False
    base = Path(os.path.realpath(root))
    # Not Path.resolve(), which raises where links lead in a circle.
    return Path(os.path.realpath((base / path).parent / target)).is_relative_to(base)


def _listed(root: Path, folder: str) -> list[tuple[str, os.stat_result]]:
    """What a folder holds by now, sorted; what vanishes meanwhile is left out."""
    listed = []
    with os.scandir(root / folder) as found:
        for entry in found:
            try:
                listed.append((entry.name, entry.stat(follow_symlinks=False)))
            except FileNotFoundError:
                continue
    return sorted(listed, key=lambda one: one[0])


class Patterns:
    """Patterns as in a .gitignore file; later ones win."""

    def __init__(self, lines: Iterable[str]) -> None:
        from pathspec import GitIgnoreSpec

        self._spec = GitIgnoreSpec.from_lines(list(lines))
        self._known: dict[str, bool] = {}

    def match(self, path: str) -> bool:
        """Whether a path is meant; that of a folder ends with a slash. What was asked once is known."""
        if path not in self._known:
            self._known[path] = self._spec.match_file(path)
        return self._known[path]


class Keeps:
    """Decides what of a project is copied."""

    def __init__(self, ignored: Patterns, private: Sequence[Path]) -> None:
        self._ignored = ignored
        self._private = frozenset(os.path.realpath(path) for path in private)

    def __call__(self, root: Path, path: str, found: os.stat_result) -> bool:
        is_folder = stat.S_ISDIR(found.st_mode)
        if self._ignored.match(f"{path}/" if is_folder else path) or self._is_private(root, path):
            return False
        return not (is_folder and is_data_folder(root / path))

    def _is_private(self, root: Path, path: str) -> bool:
        if not self._private:
            return False
        full = f"{os.path.realpath(root)}{os.sep}{path}"
        return any(full == one or full.startswith(f"{one}-") for one in self._private)


def is_data_folder(folder: Path) -> bool:
    """Whether a folder holds what a server has stored, also if that is another server."""
    return (folder / "lock").is_file() and (folder / "blobs").is_dir()


@dataclass
class Project:
    """A folder with a script and what it needs. `private` are files and folders of the server that lie in it.

    index() reads all files once; from then on content() reads only what has changed.
    """

    root: Path
    ignore: Sequence[str] = ()
    shared: Sequence[str] = ()
    private: Sequence[Path] = ()
    _known: dict[str, tuple[Stamp, Content]] = field(default_factory=dict, repr=False)
    _rules: tuple[Sequence[str], Keeps] | None = field(default=None, repr=False)
    _shared: Patterns | None = field(default=None, repr=False)

    def index(self, private: Sequence[Path] = ()) -> None:
        """Gets to know the files. What cannot be read is left to the jobs, which say so."""
        self.private = private
        moment = time.time_ns()
        for entry in self.entries():
            if entry.is_file:
                self.is_shared(entry.path)
                if entry.is_settled(moment):
                    self._learn(entry)

    def entries(self) -> list[Entry]:
        """What is copied, as it is now."""
        return list(entries(self.root, self._keeps()))

    def is_shared(self, path: str) -> bool:
        """Whether a file may be one for many workspaces, so that no script may change it."""
        if self._shared is None:
            self._shared = Patterns(self.shared)
        return self._shared.match(path)

    def content(self, entry: Entry) -> Content:
        """The content of a file. Raises OSError."""
        known = self._known.get(entry.path)
        if known is not None and known[0] == Stamp.of(entry.found):
            return known[1]
        return content_of(self.root / entry.path)

    def _learn(self, entry: Entry) -> None:
        try:
            self._known[entry.path] = (Stamp.of(entry.found), content_of(self.root / entry.path))
        except OSError:
            return

    def _keeps(self) -> Keeps:
        """The rules; those of the project's own file as they are now."""
        lines = (*NEVER_COPIED, *_lines(self.root / IGNORE_FILE), *self.ignore)
        if self._rules is None or self._rules[0] != lines:
            self._rules = (lines, Keeps(Patterns(lines), self.private))
        return self._rules[1]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
