"""What a backup looks like: a folder with the rows as JSON lines, the content as files, and a manifest that is written last.

    backup.json           the manifest: without it there is no backup
    rows-<id>/*.jsonl.gz  a file for each table, and `content`, the list of what is below blobs/
    blobs/sha256/ab/...   the content, named by its digest as in a data folder

A backup into the folder of an earlier one takes nothing away from that until the new manifest is in place.
"""

import gzip
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ..artifacts.blobs.disk import file_digest, make_folder, sync_folder
from ..artifacts.blobs.names import CONTENT, name_of
from ..clock import new_id
from .refusal import Refused

FORMAT = 1
MANIFEST = "backup.json"
ROWS = "rows-"
BLOBS = "blobs"
# The file of rows that lists the content: digest, size.
LIST = "content"
# Rows of text shrink to a tenth even so, and a backup is not slowed down.
COMPRESSION = 3


class RowFile(BaseModel):
    """A file of rows: how many, and the digest of the file."""

    model_config = ConfigDict(frozen=True)

    rows: int
    digest: str


class Manifest(BaseModel):
    """What is in a backup. `revision` is the version of the tables, `version` that of the program; `blobs` and `bytes` say how much
    content there is, `damaged` lists what was lost before the backup was made."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    made_at: datetime
    version: str
    revision: str
    rows_folder: str
    rows: dict[str, RowFile]
    blobs: int
    bytes: int
    damaged: tuple[str, ...] = ()


class BackupFolder:
    """The folder of a backup, to be written or read."""

    def __init__(self, path: Path, rows_folder: str) -> None:
        self.path = path
        self.rows = path / rows_folder

    @classmethod
    def begin(cls, path: Path) -> Self:
        """A folder for a new backup. Raises Refused if there is something else in it."""
        others = sorted(p.name for p in path.iterdir() if not _belongs(p.name)) if path.exists() else []
        if others:
            raise Refused(f"{path} holds something else, such as {others[0]}; name an empty folder, or that of an earlier backup")
        folder = cls(path, f"{ROWS}{new_id()}")
        make_folder(folder.rows)
        return folder

    def blob_path(self, digest: str) -> Path:
        return self.path / BLOBS / CONTENT / name_of(digest)

    def put(self, unfinished: Path, digest: str) -> None:
        """Gives content its name."""
        path = self.blob_path(digest)
        make_folder(path.parent)
        unfinished.replace(path)

    def write_rows(self, name: str, rows: Iterable[dict[str, Any]]) -> RowFile:
        """Writes a file of rows."""
        path, count = self._file(name), 0
        with path.open("wb") as file:
            # Without a time in it equal rows make equal files.
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=COMPRESSION, mtime=0) as lines:
                for row in rows:
                    lines.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
                    count += 1
            sync_file(file)
        return RowFile(rows=count, digest=file_digest(path))

    def read_rows(self, name: str) -> Iterator[dict[str, Any]]:
        with gzip.open(self._file(name), "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)

    def check_rows(self, manifest: Manifest) -> None:
        """Raises Refused if a file of rows is not what was written."""
        for name, written in manifest.rows.items():
            path = self._file(name)
            if not path.is_file() or file_digest(path) != written.digest:
                raise Refused(f"the backup is damaged: {path} is not what was written; use another backup")

    def finish(self, manifest: Manifest, wanted: set[str]) -> None:
        """Makes the backup one, and removes what only earlier ones had."""
        for folder in (self.path / BLOBS / CONTENT).glob("??"):
            sync_folder(folder)
        sync_folder(self.rows)
        aside = self.path / f"{MANIFEST}.new"
        with aside.open("w", encoding="utf-8") as file:
            file.write(manifest.model_dump_json(indent=2) + "\n")
            sync_file(file)
        aside.replace(self.path / MANIFEST)
        sync_folder(self.path)
        self._tidy({self.blob_path(digest) for digest in wanted})

    def _tidy(self, wanted: set[Path]) -> None:
        for folder in self.path.glob(f"{ROWS}*"):
            if folder != self.rows:
                shutil.rmtree(folder)
        for path in (self.path / BLOBS / CONTENT).glob("??/*"):
            if path not in wanted:
                path.unlink()

    def _file(self, name: str) -> Path:
        return self.rows / f"{name}.jsonl.gz"


def _belongs(name: str) -> bool:
    return name in (MANIFEST, f"{MANIFEST}.new", BLOBS) or name.startswith(ROWS)


def read_manifest(path: Path) -> Manifest:
    """What is in the backup of a folder. Raises Refused if there is none."""
    try:
        document = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if document["format"] > FORMAT:
            raise Refused(f"the backup in {path} was made by modelwire {document['version']}; use that version or a newer one")
        return Manifest.model_validate(document)
    except OSError:
        raise Refused(f"there is no whole backup in {path}: {MANIFEST}, which is written last, cannot be read") from None
    except (ValueError, KeyError, TypeError, ValidationError):
        raise Refused(f"the backup in {path} is damaged: {MANIFEST} is not what was written; use another backup") from None


def sync_file(file: IO[Any]) -> None:
    """Makes what was written durable."""
    file.flush()
    os.fsync(file.fileno())
