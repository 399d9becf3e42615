"""Artifacts: the tree of everything that was made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, overload

from modelwire._async.connection import AsyncConnection, new_request_id
from modelwire._async.content import AsyncDownload, upload
from modelwire._seams import asynchronous as seam
from modelwire.chunks import FrameAssembler
from modelwire.content import FrameUpload, NewFile, UploadLike, UploadSource, open_upload
from modelwire.frames import FrameLike, FrameSource, Kind, KindName, to_kind
from modelwire.records import ARROW_STREAM, ArtifactNode, ArtifactRecord, artifact_fields, node_of
from modelwire.v1 import artifact_pb2, artifact_service_pb2
from modelwire.values import from_struct, to_struct, to_value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from os import PathLike
    from pathlib import Path

    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from modelwire._async.configs import AsyncConfig


@dataclass(frozen=True, kw_only=True)
class AsyncArtifact(ArtifactRecord):
    """Something that was made: a model, a prediction, a dataset, a file. Its content never changes."""

    _connection: AsyncConnection = field(repr=False, compare=False)

    @property
    def _artifacts(self) -> AsyncArtifacts:
        return AsyncArtifacts(self._connection)

    @overload
    async def download(self, path: None = None) -> bytes: ...
    @overload
    async def download(self, path: str | PathLike[str]) -> Path: ...
    async def download(self, path: str | PathLike[str] | None = None) -> bytes | Path:
        """The content; or its path, when it is to be stored in a file or folder."""
        return await self._artifacts.download(self.id, path)

    @overload
    async def frame(self, kind: Literal["pyarrow"] = "pyarrow") -> pa.Table: ...
    @overload
    async def frame(self, kind: Literal["pandas"]) -> pd.DataFrame: ...
    @overload
    async def frame(self, kind: Literal["polars"]) -> pl.DataFrame: ...
    async def frame(self, kind: KindName = "pyarrow") -> Any:
        """The content of a dataset or a prediction, as a frame of the named library."""
        return await self._artifacts.frame(self.id, kind)

    async def tree(self) -> ArtifactNode:
        """This artifact with all its descendants."""
        return await self._artifacts.tree(self.id)

    async def config(self) -> AsyncConfig:
        """The config that the root of this artifact's tree is linked to."""
        return await self._artifacts.config(self.id)

    async def delete(self) -> None:
        """Deletes this artifact; its children stay."""
        await self._artifacts.delete(self.id)


class AsyncArtifacts:
    """`client.artifacts`: everything that was made."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    @property
    def _stub(self) -> Any:
        return self._connection.stubs.artifacts

    def _artifact(self, artifact: artifact_pb2.Artifact) -> AsyncArtifact:
        return AsyncArtifact(**artifact_fields(artifact), _connection=self._connection)

    async def get(self, artifact_id: str) -> AsyncArtifact:
        """One artifact, with its content if that is small JSON. Raises NotFound."""
        request = artifact_service_pb2.GetArtifactRequest(artifact_id=artifact_id)
        return self._artifact((await self._connection.call(self._stub.GetArtifact, request)).artifact)

    async def list(
        self,
        *,
        type: str = "",
        parent: str = "",
        tags: Sequence[str] = (),
        input: str = "",
        limit: int | None = None,
    ) -> AsyncIterator[AsyncArtifact]:
        """Yields the artifacts that fit, oldest first, at most `limit`.

        `parent` asks for children of that artifact, `input` for what a config, job, dataset or model went into.
        """
        request = artifact_service_pb2.ListArtifactsRequest(type=type, parent_id=parent, tags=tags, input_id=input)
        async for artifact in self._connection.pages(self._stub.ListArtifacts, request, "artifacts", limit):
            yield self._artifact(artifact)

    async def create(
        self,
        type: str,
        content: Any = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        parent: str = "",
        tags: Sequence[str] = (),
        id: str = "",
    ) -> AsyncArtifact:
        """Stores an artifact with small JSON content, or with none. Raises AlreadyExists, FailedPrecondition, InvalidArgument."""
        data = artifact_pb2.ArtifactData(type=type)
        if metadata is not None:
            data.metadata.CopyFrom(to_struct(metadata, "metadata"))
        if content is not None:
            data.content.CopyFrom(to_value(content, "content"))
        request = artifact_service_pb2.CreateArtifactRequest(
            id=id, data=data, parent_id=parent, tags=tags, request_id=new_request_id()
        )
        return self._artifact((await self._connection.call(self._stub.CreateArtifact, request)).artifact)

    async def update(
        self,
        artifact_id: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        parent: str | None = None,
        tags: Sequence[str] = (),
    ) -> AsyncArtifact:
        """Changes what is given: metadata as a whole, tags, and the parent (`""` makes a root). The content stays."""
        request = artifact_service_pb2.UpdateArtifactRequest(
            artifact_id=artifact_id, parent_id=parent, tags=tags, request_id=new_request_id()
        )
        if metadata is not None:
            request.metadata.CopyFrom(to_struct(metadata, "metadata"))
        return self._artifact((await self._connection.call(self._stub.UpdateArtifact, request)).artifact)

    async def delete(self, artifact_id: str) -> None:
        """Deletes one artifact; its children stay, as roots that keep their level. Raises NotFound."""
        request = artifact_service_pb2.DeleteArtifactRequest(artifact_id=artifact_id, request_id=new_request_id())
        await self._connection.call(self._stub.DeleteArtifact, request)

    async def count(self) -> int:
        """How many artifacts there are."""
        request = artifact_service_pb2.GetArtifactStatsRequest()
        return int((await self._connection.call(self._stub.GetArtifactStats, request)).total)

    async def expand(self, artifact_id: str) -> ArtifactNode:
        """One artifact with the label of its level, without children. Raises NotFound."""
        request = artifact_service_pb2.ExpandArtifactRequest(artifact_id=artifact_id)
        return node_of((await self._connection.call(self._stub.ExpandArtifact, request)).node)

    async def tree(self, artifact_id: str) -> ArtifactNode:
        """One artifact with all its descendants. Raises NotFound."""
        request = artifact_service_pb2.GetArtifactTreeRequest(artifact_id=artifact_id)
        return node_of((await self._connection.call(self._stub.GetArtifactTree, request)).node)

    async def config(self, artifact_id: str) -> AsyncConfig:
        """The config that the artifact's root is linked to. Raises NotFound."""
        from modelwire._async.configs import AsyncConfigs

        request = artifact_service_pb2.GetArtifactConfigRequest(artifact_id=artifact_id)
        answer = await self._connection.call(self._stub.GetArtifactConfig, request)
        return AsyncConfigs(self._connection).bind(answer.config)

    async def metadata(self, artifact_id: str) -> dict[str, Any]:
        """The metadata alone. Raises NotFound."""
        request = artifact_service_pb2.GetArtifactMetadataRequest(artifact_id=artifact_id)
        return from_struct((await self._connection.call(self._stub.GetArtifactMetadata, request)).metadata)

    @overload
    async def download(self, artifact_id: str, path: None = None) -> bytes: ...
    @overload
    async def download(self, artifact_id: str, path: str | PathLike[str]) -> Path: ...
    @overload
    async def download(self, artifact_id: str, path: str | PathLike[str] | None = None) -> bytes | Path: ...
    async def download(self, artifact_id: str, path: str | PathLike[str] | None = None) -> bytes | Path:
        """The content as bytes; or, given a file or a folder, the path of the file where it is now.

        The file appears under its name only when it is complete and has its digest. Raises NotFound, DataLoss.
        """
        download = AsyncDownload(self._connection, artifact_id)
        if path is None:
            return b"".join([chunk async for chunk in download.chunks()])
        with NewFile(path) as file:
            async for chunk in download.chunks():
                await seam.in_thread(file.write, chunk)
            return await seam.in_thread(file.commit, download.header.filename)

    async def frame(self, artifact_id: str, kind: KindName = "pyarrow") -> Any:
        """The content of a dataset or a prediction, as a frame of the named library. Raises NotFound, DataLoss."""
        with FrameAssembler() as assembler:
            async for chunk in AsyncDownload(self._connection, artifact_id).chunks():
                assembler.feed(chunk)
            return to_kind(await seam.in_thread(assembler.result), Kind(kind))

    async def upload(
        self,
        content: UploadLike,
        *,
        type: str = "",
        content_type: str = "",
        metadata: Mapping[str, Any] | None = None,
        parent: str = "",
        tags: Sequence[str] = (),
        id: str = "",
    ) -> AsyncArtifact:
        """Stores the content of a path, of bytes or of a file open for reading; its digest is checked on both sides."""
        header = artifact_service_pb2.UploadHeader(id=id, type=type, content_type=content_type, parent_id=parent, tags=tags)
        with open_upload(content) as source:
            return await self._upload(header, source, metadata)

    async def upload_frame(
        self,
        frame: FrameLike,
        *,
        type: str = "dataset",
        metadata: Mapping[str, Any] | None = None,
        parent: str = "",
        tags: Sequence[str] = (),
        id: str = "",
    ) -> AsyncArtifact:
        """Stores a frame of any library and size as an artifact."""
        header = artifact_service_pb2.UploadHeader(id=id, type=type, content_type=ARROW_STREAM, parent_id=parent, tags=tags)
        return await self._upload(header, FrameUpload(FrameSource(frame, "frame")), metadata)

    async def _upload(
        self, header: artifact_service_pb2.UploadHeader, source: UploadSource, metadata: Mapping[str, Any] | None
    ) -> AsyncArtifact:
        header.request_id = new_request_id()
        if metadata is not None:
            header.metadata.CopyFrom(to_struct(metadata, "metadata"))
        return self._artifact(await upload(self._connection, header, source))


class AsyncDatasets:
    """`client.datasets`: frames that are kept on the server."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._artifacts = AsyncArtifacts(connection)

    async def upload(
        self,
        frame: FrameLike,
        *,
        metadata: Mapping[str, Any] | None = None,
        parent: str = "",
        tags: Sequence[str] = (),
        id: str = "",
    ) -> AsyncArtifact:
        """Stores a frame of any library and size."""
        return await self._artifacts.upload_frame(frame, metadata=metadata, parent=parent, tags=tags, id=id)

    async def get(self, dataset_id: str) -> AsyncArtifact:
        """One dataset; `frame()` of the answer reads it. Raises NotFound."""
        return await self._artifacts.get(dataset_id)

    async def list(self, *, tags: Sequence[str] = (), limit: int | None = None) -> AsyncIterator[AsyncArtifact]:
        """Yields the datasets that fit, oldest first, at most `limit`."""
        async for dataset in self._artifacts.list(type="dataset", tags=tags, limit=limit):
            yield dataset

    async def delete(self, dataset_id: str) -> None:
        """Deletes one dataset. Raises NotFound."""
        await self._artifacts.delete(dataset_id)
