"""Files that a job reads and writes: frames, models, predictions."""

import errno
import hashlib
import json
import os
import pickle
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import cloudpickle
import pyarrow as pa

from modelwire_runners import BaseModelRunner
from modelwire_runners.invoke import parse

from ..artifacts.model import Blob, Origin
from ..errors import (
    ContentCorrupted,
    ContentMissing,
    ModelNotLoadable,
    ModelNotSerializable,
    ModelwireError,
    StorageFull,
    UntrustedContent,
)
from ..formats.model import Format
from ..formats.onnx_files import read_onnx
from ..formats.skops_files import read_skops
from ..formats.tensors import read_safetensors
from .offenders import find_offender

_BATCH_BYTES = 1 << 20
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class HashedFile:
    """A new file whose digest is computed while it is written. Leaving the context without an error makes it durable."""

    # Arrow asks for it.
    closed = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._hash = hashlib.sha256()
        self._size = 0

    def __enter__(self) -> Self:
        self._file = self.path.open("wb")
        return self

    def write(self, data: Any) -> int:
        """Appends bytes, or anything with a buffer, without copying it."""
        with memoryview(data) as view:
            self._hash.update(view)
            self._size += view.nbytes
        return self._file.write(data)

    @property
    def blob(self) -> Blob:
        return Blob(f"sha256:{self._hash.hexdigest()}", self._size)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            with self._file:
                if error is not None:
                    raise error
                self._file.flush()
                os.fsync(self._file.fileno())
        except OSError as failure:
            if failure.errno in DISK_FULL:
                raise StorageFull("there is no space left to store what the job made") from failure
            raise


def warm_up() -> None:
    """Does once in small what every job does, so that it is quick when it matters."""
    frame = pa.table({"warm": [1.0], "up": ["text"]}).to_pandas(use_threads=False)
    pa.Table.from_pandas(frame, nthreads=1)
    pickle.loads(cloudpickle.dumps({"frame": frame}, protocol=5))
    hashlib.sha256(b"")


def read_frame(path: Path) -> pa.Table:
    """A stored frame, mapped into memory and not copied. Raises ContentCorrupted."""
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
            return reader.read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise ContentCorrupted(f"the stored frame {path.name} cannot be read: {error}", digest=path.name) from error


def read_json(path: Path) -> Any:
    """A stored JSON document. Raises ContentCorrupted."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ContentCorrupted(f"the stored document {path.name} cannot be read: {error}", digest=path.name) from error


def load_model(path: Path, blob: Blob) -> Any:
    """A stored model, if it still has its digest: nothing else may be unpickled. Raises ContentCorrupted, ModelNotLoadable."""
    with open_content(path, blob) as file:
        return _unpickled(file)


def load_imported(path: Path, blob: Blob, kind: str, origin: Origin, runner: BaseModelRunner[Any], config: dict[str, Any]) -> Any:
    """A stored model that was made elsewhere, of the content type `kind`, as its runner wants it. Only what was granted is read in a way
    that can run code. Raises ContentCorrupted, ModelNotLoadable, UntrustedContent, ContentTooLarge."""
    is_granted = origin is Origin.GRANTED
    with open_content(path, blob) as file:
        match Format.of_content(kind):
            case Format.SKOPS:
                content = read_skops(file, granted=is_granted)
            case Format.ONNX:
                content = read_onnx(file)
            case Format.SAFETENSORS:
                content = read_safetensors(file)
            case Format.CLOUDPICKLE if is_granted:
                content = _unpickled(file)
            case _:
                raise UntrustedContent(f"content of type {kind} is not read without a grant", content_type=kind)
    try:
        return runner.function("on_load")(parse(runner, config), content)
    except (MemoryError, ModelwireError):
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise ModelNotLoadable(f"the runner {runner.info.id} cannot take the model: {why}") from error


def _unpickled(file: BinaryIO) -> Any:
    try:
        return pickle.load(file)
    except MemoryError:
        raise
    except Exception as error:
        raise ModelNotLoadable(f"the model cannot be loaded: {type(error).__name__}: {error}") from error


def open_content(path: Path, blob: Blob) -> BinaryIO:
    """Stored content, once it is known to have its digest still. Raises ContentCorrupted."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise ContentMissing(f"stored content {blob.digest} is missing", digest=blob.digest) from error
    if f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" != blob.digest:
        file.close()
        raise ContentCorrupted(f"stored content {blob.digest} was changed", digest=blob.digest)
    file.seek(0)
    return file


def save_model(model: Any, path: Path) -> Blob:
    """Pickles the model into a new file. Raises ModelNotSerializable, StorageFull."""
    with HashedFile(path) as file:
        try:
            cloudpickle.Pickler(file, protocol=5).dump(model)
        except (MemoryError, OSError):
            raise
        except Exception as error:
            offender = find_offender(model)
            raise ModelNotSerializable(
                f"the model cannot be stored: {offender.path} is a {offender.type}, which cannot be pickled ({error})",
                type=offender.type,
                path=offender.path,
            ) from error
        return file.blob


def save_predictions(table: pa.Table, path: Path) -> Blob:
    """Writes the predictions as an Arrow IPC stream with record batches of about 1 MiB. Raises StorageFull."""
    rows = max(1, _BATCH_BYTES * table.num_rows // max(1, table.nbytes))
    with HashedFile(path) as file:
        with pa.ipc.new_stream(pa.PythonFile(file, "w"), table.schema) as writer:
            writer.write_table(table, max_chunksize=rows)
        return file.blob
