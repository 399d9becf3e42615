"""The content of a workspace: a list of files whose bytes are blobs of their own, so that files that many workspaces share are stored
once."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Self

from ..errors import ContentCorrupted
from .model import Blob

# Which version of the document this is.
VERSION = 1


@dataclass(frozen=True, slots=True)
class WorkspaceFile:
    """A regular file. `path` is relative, with slashes; `mode` holds the permission bits; `crc32` is what zip files want."""

    path: str
    digest: str
    size: int
    mode: int = 0o644
    crc32: int = 0

    @property
    def blob(self) -> Blob:
        return Blob(self.digest, self.size)


@dataclass(frozen=True, slots=True)
class WorkspaceLink:
    """A symbolic link; `target` as it was written, never leading out of the workspace."""

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder, frozen: its files, its symbolic links and its empty folders, each sorted by path."""

    files: Sequence[WorkspaceFile] = ()
    links: Sequence[WorkspaceLink] = ()
    folders: Sequence[str] = ()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    def to_json(self) -> bytes:
        """The document; equal workspaces have equal documents."""
        return json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, document: bytes) -> Self:
        """Raises ContentCorrupted if the document is none, or names a place outside of the workspace."""
        try:
            data = json.loads(document)
            if data["version"] != VERSION:
                raise ValueError(f"version {data['version']} is not known")
            workspace = cls(
                files=tuple(WorkspaceFile(**file) for file in data["files"]),
                links=tuple(WorkspaceLink(**link) for link in data["links"]),
                folders=tuple(data["folders"]),
            )
            workspace.check_paths()
        except (KeyError, TypeError, ValueError) as error:
            raise ContentCorrupted(f"the list of a workspace's files cannot be read: {error}") from error
        return workspace

    def check_paths(self) -> None:
        """Raises ValueError if a path is absolute or leads out of the workspace."""
        for path in (*(file.path for file in self.files), *(link.path for link in self.links), *self.folders):
            parts = PurePosixPath(path).parts
            if not parts or path.startswith("/") or ".." in parts:
                raise ValueError(f"{path!r} is not a path inside of a workspace")
