"""Chooses the blob store that a URL means."""

from pathlib import Path

from .files import FileBlobStore
from .interface import BlobStore


def open_blob_store(url: str, data_dir: Path, *, max_bytes: int, cache_bytes: int) -> BlobStore:
    """The store behind a folder's path or a bucket's URL; empty means a folder in the data folder."""
    return FileBlobStore(Path(url.removeprefix("file://")) if url else data_dir / "blobs", max_bytes=max_bytes)
