"""Chooses the blob store that a URL means."""

from pathlib import Path
from urllib.parse import urlsplit

from ...errors import StartError
from .files import FileBlobStore
from .interface import BlobStore

BUCKETS = ("s3", "gs", "az")


def open_blob_store(url: str, data_dir: Path, *, max_bytes: int, cache_bytes: int) -> BlobStore:
    """The store behind a folder's path or a bucket's URL; empty means a folder in the data folder. Raises StartError."""
    scheme = urlsplit(url).scheme
    if scheme in BUCKETS:
        return _object_store(url, data_dir / "blob-cache", max_bytes=max_bytes, cache_bytes=cache_bytes)
    if scheme not in ("", "file"):
        known = ", ".join(f"{name}://" for name in BUCKETS)
        raise StartError(f"blobs_url: {scheme}:// is not known; a folder is, and so are {known}")
    return FileBlobStore(Path(url.removeprefix("file://")) if url else data_dir / "blobs", max_bytes=max_bytes)


def _object_store(url: str, folder: Path, *, max_bytes: int, cache_bytes: int) -> BlobStore:
    try:
        # Not needed by those who keep content in files.
        from .buckets import open_bucket
        from .objects import ObjectBlobStore
    except ModuleNotFoundError as error:
        raise StartError(f"content in a bucket needs {error.name}: pip install 'modelwire[server,objects]'") from None
    place = url.partition("?")[0]
    return ObjectBlobStore(open_bucket(url), place, folder, max_bytes=max_bytes, cache_bytes=cache_bytes)
