"""The folder that a script works in: filled from the project or from an earlier workspace, and taken stock of afterwards."""

import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .copying import Copier, SharedFile, SharedFiles
from .project import Content, Entry, Project, content_of, entries, leads_inside


class WorkspaceError(Exception):
    """A workspace cannot be filled, or holds what it must not; the message says what."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A regular file. `path` is relative, with slashes; `mode` holds the permission bits."""

    path: str
    content: Content
    mode: int


@dataclass(frozen=True, slots=True)
class LinkEntry:
    """A symbolic link that stays inside."""

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Stock:
    """All that a workspace holds, sorted: files, symbolic links, empty folders. `left_out` says what is not kept, and why."""

    files: Sequence[FileEntry] = ()
    links: Sequence[LinkEntry] = ()
    folders: Sequence[str] = ()
    left_out: Sequence[str] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class _State:
    """What no change of a file leaves as it is."""

    size: int
    modified: int
    changed: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> "_State":
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


class WorkFolder:
    """A new folder at `root`. `shared` is a folder on the same file system for what many workspaces share; without it all is copied."""

    def __init__(self, root: Path, shared: Path | None = None) -> None:
        root.mkdir(parents=True)
        self.root = root
        self.left_out: list[str] = []
        self._copier = Copier()
        self._shared = SharedFiles(shared, self._copier) if shared is not None else None
        self._known: dict[str, tuple[_State, Content]] = {}
        self._links: dict[str, tuple[int, SharedFile, Content]] = {}
        self._started = 0

    def copy_project(self, project: Project) -> None:
        """Fills the workspace with the project's files as they are now. Raises WorkspaceError, OSError."""
        moment = time.time_ns()
        for entry in project.entries():
            if entry.is_folder:
                (self.root / entry.path).mkdir(exist_ok=True)
            elif entry.is_link:
                self._copy_link(project.root, entry)
            else:
                self._copy_file(project, entry, moment)

    def restore(self, stock: Stock, source: Callable[[str], Path], is_shared: Callable[[str], bool]) -> None:
        """Fills the workspace with what another held; `source` finds content by its digest. Raises WorkspaceError if content is not
        what it was, OSError."""
        paths = [*(file.path for file in stock.files), *(link.path for link in stock.links)]
        for folder in {(self.root / path).parent for path in paths} | {self.root / path for path in stock.folders}:
            folder.mkdir(parents=True, exist_ok=True)
        for file in stock.files:
            self._restore_file(file, source(file.content.digest), is_shared(file.path))
        # Last, so that nothing is written through one.
        for link in stock.links:
            (self.root / link.path).symlink_to(link.target)

    def place(self, name: str) -> Path:
        """Where to write a file; what had the name is removed. Raises WorkspaceError if it is a folder."""
        path = self.root / name
        if path.is_dir() and not path.is_symlink():
            raise WorkspaceError(f"{name} is a folder, where a file of that name is to be written")
        path.unlink(missing_ok=True)
        return path

    def size(self) -> int:
        """Bytes of all files, as they are now."""
        return sum(entry.found.st_size for entry in entries(self.root) if entry.is_file)

    def take_stock(self) -> Stock:
        """All that the workspace holds; only files that have changed are read. Nothing may write to it any more. Raises OSError."""
        self._make_readable()
        left_out = list(self.left_out)
        files: list[FileEntry] = []
        links: list[LinkEntry] = []
        folders: list[str] = []
        for entry in entries(self.root):
            if not _is_text(entry.path):
                left_out.append(f"{entry.path!r}: its name is not UTF-8")
            elif entry.is_file:
                files.append(FileEntry(entry.path, self._content(entry), entry.found.st_mode & 0o777))
            elif entry.is_link:
                target = str((self.root / entry.path).readlink())
                if leads_inside(self.root, entry.path, target) and _is_text(target):
                    links.append(LinkEntry(entry.path, target))
                else:
                    left_out.append(f"{entry.path}: the link leads out of the workspace, to {target!r}")
            elif entry.is_empty:
                folders.append(entry.path)
        return Stock(
            tuple(sorted(files, key=lambda file: file.path)),
            tuple(sorted(links, key=lambda link: link.path)),
            tuple(sorted(folders)),
            tuple(left_out),
        )

    def _make_readable(self) -> None:
        """Whatever a script has forbidden: what it has left is its owner's to read."""
        for folder, folders, files in os.walk(self.root):
            for names, needed in ((folders, 0o700), (files, 0o400)):
                for path in (Path(folder, name) for name in names):
                    mode = path.lstat().st_mode
                    if not stat.S_ISLNK(mode) and mode & needed != needed:
                        path.chmod(stat.S_IMODE(mode) | needed)

    def changed_shared_files(self) -> list[str]:
        """The shared files that were changed in place, and thereby for all. They are no longer shared from now on."""
        changed = [path for path, (_, shared, _) in self._links.items() if not shared.is_intact()]
        for path in changed:
            self._links.pop(path)[1].drop()
        return sorted(changed)

    def _copy_link(self, project: Path, entry: Entry) -> None:
        target = str((project / entry.path).readlink())
        if leads_inside(project, entry.path, target):
            (self.root / entry.path).symlink_to(target)
        else:
            self.left_out.append(f"{entry.path}: the link leads out of the project, to {target}")

    def _copy_file(self, project: Project, entry: Entry, moment: int) -> None:
        try:
            content = project.content(entry)
            if self._shared is not None and project.is_shared(entry.path):
                self._share(project.root / entry.path, content, entry.found.st_mode, entry.path)
            else:
                self._copy(project.root / entry.path, entry, content if entry.is_settled(moment) else None)
        except FileNotFoundError:
            self.left_out.append(f"{entry.path}: it vanished")

    def _copy(self, source: Path, entry: Entry, content: Content | None) -> None:
        target = self.root / entry.path
        before = _State.of(entry.found)
        after = _State.of(self._copier.copy(source, target))
        # What is written to meanwhile is read again when stock is taken.
        if after == before and content is not None:
            self._known[entry.path] = (_State.of(target.stat()), content)

    def _restore_file(self, file: FileEntry, source: Path, is_shared: bool) -> None:
        if is_shared and self._shared is not None:
            self._share(source, file.content, file.mode, file.path)
            return
        target = self.root / file.path
        self._copier.copy(source, target, file.mode)
        if content_of(target).digest != file.content.digest:
            raise WorkspaceError(f"the stored file {file.path} of the workspace was changed")
        self._known[file.path] = (_State.of(target.stat()), file.content)

    def _share(self, source: Path, content: Content, mode: int, path: str) -> None:
        assert self._shared is not None
        target = self.root / path
        shared = self._shared.link(source, content, mode, target)
        self._links[path] = (target.stat().st_ino, shared, content)

    def _content(self, entry: Entry) -> Content:
        inode, _, content = self._links.get(entry.path, (0, None, None))
        if content is not None and inode == entry.found.st_ino:
            return content
        known = self._known.get(entry.path)
        # A copy has the time of what it is a copy of: after a change it would have that of the change.
        if known is not None and known[0] == _State.of(entry.found) and known[0].modified < self._started:
            return known[1]
        return content_of(self.root / entry.path)

    def hand_over(self) -> None:
        """To be called when the script begins: what changes from now on is its work."""
        self._started = time.time_ns()


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
