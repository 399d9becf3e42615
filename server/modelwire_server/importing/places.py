"""Places that the server's settings name: folders and buckets whose files may be imported by their address, by any caller."""

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ..artifacts.blobs.opening import BUCKETS
from ..errors import FieldViolation, InvalidField, SourceUnavailable, StartError
from .model import Fetched, Source
from .receiving import check_size

if TYPE_CHECKING:
    from ..artifacts.blobs.buckets import Bucket

FILE = "file"
_PART = 4 << 20


def sources_of(places: Sequence[str], max_bytes: int) -> list[Source]:
    """A source for each scheme of these folders (`/srv/models`, `file:///srv/models`) and buckets (`s3://BUCKET/PREFIX`). Raises
    StartError."""
    folders = [Path(unquote(urlsplit(place).path)) for place in places if urlsplit(place).scheme in ("", FILE)]
    found: list[Source] = [Folders(folders, max_bytes)] if folders else []
    of_scheme = {scheme: [place for place in places if urlsplit(place).scheme == scheme] for scheme in BUCKETS}
    found += [Buckets(scheme, named, max_bytes) for scheme, named in of_scheme.items() if named]
    known = ("", FILE, *BUCKETS)
    if unknown := next((place for place in places if urlsplit(place).scheme not in known), None):
        raise StartError(
            f"import_from: {unknown!r} is neither a folder nor a bucket: {', '.join(f'{name}://' for name in BUCKETS)}"
        )
    return found


class Folders:
    """Files in these folders, wherever links lead from there."""

    scheme = FILE

    def __init__(self, folders: Sequence[Path], max_bytes: int) -> None:
        missing = next((folder for folder in folders if not folder.is_dir()), None)
        if missing is not None:
            raise StartError(f"import_from: there is no folder {missing}")
        self._folders = [folder.resolve() for folder in folders]
        self._max_bytes = max_bytes

    async def fetch(self, uri: str, into: Path) -> Fetched:
        """Copies the file of `file:///srv/models/wine.skops`. Raises InvalidField, ContentTooLarge."""
        path = await asyncio.to_thread(self._copy, uri, into)
        return Fetched(path=path, source=uri)

    def _copy(self, uri: str, into: Path) -> Path:
        parts = urlsplit(uri)
        try:
            path = Path(unquote(parts.path)).resolve()
            # A link is followed before it is looked where it leads, so that none leads out of the folders.
            is_ours = not parts.netloc and any(path.is_relative_to(folder) for folder in self._folders)
            if not is_ours or not path.is_file():
                raise no_such_file(uri)
            check_size(path.stat().st_size, self._max_bytes)
            return Path(shutil.copyfile(path, into / "model", follow_symlinks=False))
        except (OSError, ValueError):
            raise no_such_file(uri) from None


class Buckets:
    """Objects below these places of one kind of store."""

    def __init__(self, scheme: str, places: Sequence[str], max_bytes: int) -> None:
        self.scheme = scheme
        self._buckets: Mapping[str, Bucket] = {_prefix(place): _opened(place) for place in places}
        self._max_bytes = max_bytes

    async def fetch(self, uri: str, into: Path) -> Fetched:
        """Downloads the object of `s3://bucket/prefix/wine.onnx`. Raises InvalidField, ContentTooLarge, SourceUnavailable."""
        prefix = next((prefix for prefix in self._buckets if uri.startswith(f"{prefix}/")), None)
        if prefix is None or urlsplit(uri).query or ".." in PurePosixPath(uri).parts:
            raise no_such_file(uri)
        path = into / "model"
        try:
            await self._download(self._buckets[prefix], uri.removeprefix(f"{prefix}/"), path)
        except FileNotFoundError:
            raise no_such_file(uri) from None
        except _bucket_error() as error:
            raise SourceUnavailable(
                f"the store of {uri} does not answer: {str(error).splitlines()[0][:200]}", source=uri
            ) from error
        return Fetched(path=path, source=uri)

    async def _download(self, bucket: "Bucket", name: str, path: Path) -> None:
        got = await bucket.get_async(name)
        check_size(got.meta["size"], self._max_bytes)
        with await asyncio.to_thread(path.open, "wb") as file:
            async for part in got.stream(min_chunk_size=_PART):
                await asyncio.to_thread(file.write, part)


def no_such_file(uri: str) -> InvalidField:
    """What is not there, and what may not be read, look the same to callers."""
    text = f"{uri[:200]!r} is no file in the places that this server imports from (setting `import_from`)"
    return InvalidField.of(FieldViolation("uri", text))


def _prefix(place: str) -> str:
    parts = urlsplit(place)
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def _opened(place: str) -> "Bucket":
    try:
        from ..artifacts.blobs.buckets import open_bucket
    except ModuleNotFoundError as error:
        raise StartError(f"models in a bucket need {error.name}: pip install 'modelwire[server,objects]'") from None
    try:
        return open_bucket(place)
    except StartError as error:
        raise StartError(str(error).replace("blobs_url", "import_from", 1)) from None


def _bucket_error() -> type[Exception]:
    from obstore.exceptions import BaseError

    return BaseError
