"""Makes versions of registered models from files that were made elsewhere."""

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from modelwire_runners import BaseModelRunner

from ..artifacts.blobs.interface import BlobStore
from ..artifacts.model import MODEL_TYPE, Artifact, ArtifactInput, Blob, Origin
from ..clock import new_id, now
from ..configs.catalog import complete
from ..errors import (
    DigestMismatch,
    FieldViolation,
    InvalidField,
    ModelNotLoadable,
    UntrustedContent,
)
from ..execution.content import load_imported
from ..formats.library import RUNNER_ID
from ..formats.model import IMPORTED, Format
from ..formats.recognition import format_of
from ..registry.catalog import ModelCatalog, NewVersion
from ..registry.model import Facts, ModelVersion
from ..runners import RunnerRegistry
from .examination import Examined, examine
from .model import Fetched, ImportedFile, Source
from .receiving import Bounded, check_size

log = structlog.get_logger(__name__)

_PART = 4 << 20
# Models that are read at the same time need the memory for it at the same time.
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class ImportRules:
    """What may be imported: files up to so many bytes, and whether those that can run code are read for callers who say why."""

    max_bytes: int
    trust_grants: bool = False


class Imports:
    """Takes files of models, from callers and from `sources`, by the scheme of their addresses."""

    def __init__(
        self,
        *,
        blobs: BlobStore,
        runners: RunnerRegistry,
        registry: ModelCatalog,
        rules: ImportRules,
        sources: Iterable[Source] = (),
    ) -> None:
        self._blobs = blobs
        self._runners = runners
        self._registry = registry
        self.rules = rules
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.sources: Mapping[str, Source] = {source.scheme: source for source in sources}

    @asynccontextmanager
    async def receiving(self) -> AsyncIterator[Bounded]:
        """A writer for a file that is to be imported. What it raises above `max_bytes` is ContentTooLarge."""
        async with self._blobs.writer() as writer:
            yield Bounded(writer, self.rules.max_bytes)

    async def import_uri(self, uri: str, wanted: ImportedFile) -> ModelVersion:
        """Imports what an address stands for. Raises InvalidField for addresses of no source, what the source raises, and as import_file()
        does."""
        source = self.source_of(uri)
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._blobs.scratch))
        try:
            fetched: Fetched = await source.fetch(uri, folder)
            return await self.import_file(fetched.path, fetched.completed(wanted))
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def source_of(self, uri: str) -> Source:
        """Raises InvalidField."""
        scheme, colon, _ = uri.partition(":")
        source = self.sources.get(scheme.lower()) if colon else None
        if source is None:
            known = ", ".join(f"`{name}:`" for name in sorted(self.sources)) or "none"
            raise InvalidField.of(FieldViolation("uri", f"{uri[:200]!r} is of no source that this server has: {known}"))
        return source

    async def import_file(self, path: Path, wanted: ImportedFile) -> ModelVersion:
        """Registers the model in a file as the next version of a name. A file in the scratch folder of the store may be gone afterwards.
        Raises InvalidField, InvalidConfig, UntrustedContent, ContentTooLarge, DigestMismatch, RunnerNotServed, StorageFull,
        RequestIdReused, and as ModelCatalog.promote() does if an alias is named."""
        config = self.check(wanted)
        found = await asyncio.to_thread(self._recognized, path, wanted)
        if found is Format.CLOUDPICKLE:
            self._require_grant(wanted)
        blob = await asyncio.to_thread(_blob_of, path)
        if wanted.digest and wanted.digest.lower() != blob.digest:
            raise _mismatch(wanted.digest, blob)
        # Before it is stored: what is wrong with it is told, and forgotten.
        async with self._slots:
            model = await asyncio.to_thread(self._read, _File(path, blob, found), config, wanted)
        await self._store(path, blob)
        version = await self._registry.register_imported(model.version, model.artifact)
        told = {
            "model": f"{version.name}/{version.version}",
            "format": found,
            "source": wanted.source,
            "grant": version.facts.grant,
        }
        log.info("model imported", **{key: value for key, value in told.items() if value})
        return version

    def check(self, wanted: ImportedFile) -> dict[str, Any]:
        """What can be wrong before there is a file; returns the config with all its defaults. Raises InvalidField, InvalidConfig,
        RunnerNotServed."""
        if wanted.format and wanted.format not in IMPORTED:
            known = ", ".join(f"`{one}`" for one in IMPORTED)
            raise InvalidField.of(FieldViolation("format", f"{wanted.format[:100]!r} is none of {known}"))
        runner = self._runners.served(wanted.runner_id or RUNNER_ID)
        return complete(runner.config_schema, dict(wanted.config), runner.info.id)

    def _recognized(self, path: Path, wanted: ImportedFile) -> Format:
        """The format of the file, told by its bytes. Raises InvalidField, ContentTooLarge."""
        check_size(path.stat().st_size, self.rules.max_bytes)
        found = format_of(path)
        if found is None:
            known = ", ".join(IMPORTED)
            raise InvalidField.of(FieldViolation("file", f"is of no format that is known: {known}"))
        if wanted.format and wanted.format != found:
            raise InvalidField.of(FieldViolation("format", f"is {wanted.format}, but the file looks like {found}"))
        return found

    def _require_grant(self, wanted: ImportedFile) -> None:
        """Raises UntrustedContent unless the file may be read in a way that can run code."""
        if wanted.grant and self.rules.trust_grants:
            return
        why = (
            "this server does not read such files, whatever the grant (setting `trust_grants`)"
            if wanted.grant
            else "say why it is to be trusted (`grant`), or save the model as skops or ONNX"
        )
        message = f"the file is a pickle, which can run code when it is read: {why}"
        raise UntrustedContent(message, format=Format.CLOUDPICKLE)

    def _read(self, file: "_File", config: dict[str, Any], wanted: ImportedFile) -> "_Imported":
        """Reads the model once, and with the grant only if it cannot be read without. Raises InvalidField, UntrustedContent,
        ContentTooLarge."""
        runner = self._runners.served(wanted.runner_id or RUNNER_ID)
        if file.format is Format.CLOUDPICKLE:
            return _imported(file, Origin.GRANTED, runner, config, wanted)
        try:
            return _imported(file, Origin.IMPORTED, runner, config, replace(wanted, grant=""))
        except UntrustedContent:
            if file.format is not Format.SKOPS or not wanted.grant or not self.rules.trust_grants:
                raise
        return _imported(file, Origin.GRANTED, runner, config, wanted)

    async def _store(self, path: Path, blob: Blob) -> None:
        """Files of our own are taken over, others are copied."""
        if path.is_relative_to(self._blobs.scratch):
            await self._blobs.adopt(path, blob)
            return
        async with self._blobs.writer() as writer:
            with await asyncio.to_thread(path.open, "rb") as file:
                while part := await asyncio.to_thread(file.read, _PART):
                    await writer.write(part)
            stored = await writer.commit()
        if stored != blob:
            raise _mismatch(blob.digest, stored)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    blob: Blob
    format: Format


@dataclass(frozen=True, slots=True)
class _Imported:
    artifact: Artifact
    version: NewVersion


def _blob_of(path: Path) -> Blob:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Blob(f"sha256:{digest}", file.tell())


def _mismatch(wanted: str, blob: Blob) -> DigestMismatch:
    message = f"the file has the digest {blob.digest}, not {wanted}"
    return DigestMismatch(message, violations=[FieldViolation("digest", message)], expected=wanted, actual=blob.digest)


def _imported(file: _File, origin: Origin, runner: BaseModelRunner[Any], config: dict[str, Any], wanted: ImportedFile) -> _Imported:
    """The model, read once, as an artifact and a version. Raises InvalidField if it cannot be read, UntrustedContent."""
    try:
        model = load_imported(file.path, file.blob, file.format.content_type, origin, runner, config)
    except ModelNotLoadable as error:
        raise InvalidField.of(FieldViolation("file", error.message)) from error
    examined = examine(model, runner, config, wanted)
    artifact = _artifact(file, origin, runner, config, wanted, examined)
    return _Imported(artifact, _new_version(artifact.id, wanted, examined))


def _artifact(
    file: _File,
    origin: Origin,
    runner: BaseModelRunner[Any],
    config: dict[str, Any],
    wanted: ImportedFile,
    examined: Examined,
) -> Artifact:
    time = now()
    metadata = {
        "status": "success",
        "source": wanted.source,
        "format": file.format,
        "model_type": examined.algorithm,
        "framework": examined.framework,
        "config": config,
        "imported_at": time.isoformat(),
        **({"grant": wanted.grant} if wanted.grant else {}),
        **({"signature": examined.signature} if examined.signature else {}),
    }
    return Artifact(
        id=new_id(),
        type=MODEL_TYPE,
        metadata=metadata,
        content_type=file.format.content_type,
        blob=file.blob,
        tags=wanted.tags,
        inputs=(ArtifactInput(origin, digest=file.blob.digest),),
        runner_id=runner.info.id,
        created_at=time,
        updated_at=time,
    )


def _new_version(artifact_id: str, wanted: ImportedFile, examined: Examined) -> NewVersion:
    facts = Facts(
        algorithm=examined.algorithm,
        features=examined.features,
        target=wanted.target,
        metrics=wanted.metrics,
        framework=examined.framework,
        trained_at=wanted.trained_at,
        source=wanted.source,
        grant=wanted.grant,
    )
    return NewVersion(
        name=wanted.name,
        artifact_id=artifact_id,
        facts=facts,
        description=wanted.description,
        tags=wanted.tags,
        stage=wanted.stage,
        alias=wanted.alias,
        request_id=wanted.request_id,
    )
