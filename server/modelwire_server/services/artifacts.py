"""ArtifactService: the tree of everything that was made."""

import mimetypes
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from modelwire.v1 import artifact_service_pb2 as pb
from modelwire.v1.artifact_service_pb2_grpc import ArtifactServiceServicer

from ..artifacts.archive import ZIP, Archive, archive_around, archive_of
from ..artifacts.blobs.interface import BlobStore
from ..artifacts.model import ARROW_STREAM, JSON, PICKLE, WORKSPACE, Artifact, Blob
from ..artifacts.tree import LARGEST_INLINE, ArtifactTree, NewArtifact
from ..errors import ContentCorrupted
from ..frames import FrameLimits
from ..interceptors.around import Context
from .checks import Findings
from .messages import artifact_message, config_message, node_message
from .receiving import check_written, chunk_of, out_of_order
from .values import dict_of, struct_of, value_of

LARGEST_PART = 1 << 20
# Of so many zip files it is known what they will be.
REMEMBERED_ARCHIVES = 256
_SUFFIXES = {ARROW_STREAM: ".arrows", PICKLE: ".pkl", JSON: ".json", "application/octet-stream": ".bin"}


class ArtifactServicer(ArtifactServiceServicer):
    def __init__(self, tree: ArtifactTree, blobs: BlobStore, limits: FrameLimits) -> None:
        self._tree = tree
        self._blobs = blobs
        self._limits = limits
        self._archives: OrderedDict[str, Blob] = OrderedDict()

    async def CreateArtifact(self, request: pb.CreateArtifactRequest, context: Context) -> pb.CreateArtifactResponse:
        findings = Findings()
        findings.present("data", request)
        if request.data.content_type not in ("", JSON):
            findings.add("data.content_type", f"must be {JSON}; use UploadArtifact for any other content")
        new = NewArtifact(
            id=findings.optional_id("id", request.id),
            type=findings.text("data.type", request.data.type),
            metadata=dict_of(request.data.metadata, "data.metadata"),
            parent_id=findings.optional_id("parent_id", request.parent_id),
            tags=findings.tags(request.tags),
            request_id=findings.request_id(request.request_id),
        )
        content = value_of(request.data.content, "data.content")
        if request.data.content.ByteSize() > LARGEST_INLINE:
            findings.add("data.content", f"takes more than {LARGEST_INLINE:,} bytes; use UploadArtifact")
        findings.settle()
        return pb.CreateArtifactResponse(artifact=artifact_message(await self._tree.create(new, content), content))

    async def GetArtifact(self, request: pb.GetArtifactRequest, context: Context) -> pb.GetArtifactResponse:
        artifact = await self._tree.get(artifact_id_of(request))
        return pb.GetArtifactResponse(artifact=artifact_message(artifact, await self._tree.inline_content(artifact)))

    async def ListArtifacts(self, request: pb.ListArtifactsRequest, context: Context) -> pb.ListArtifactsResponse:
        findings = Findings()
        page = findings.page(request)
        parent_id = findings.optional_id("parent_id", request.parent_id)
        input_id = findings.optional_id("input_id", request.input_id)
        findings.settle()
        found = await self._tree.list(page, type=request.type, parent_id=parent_id, tags=tuple(request.tags), input_id=input_id)
        return pb.ListArtifactsResponse(
            artifacts=[artifact_message(artifact) for artifact in found.items],
            next_page_token=found.next_page_token,
            total_size=found.total_size,
        )

    async def UpdateArtifact(self, request: pb.UpdateArtifactRequest, context: Context) -> pb.UpdateArtifactResponse:
        findings = Findings()
        artifact_id = findings.id("artifact_id", request.artifact_id)
        parent_id = findings.optional_id("parent_id", request.parent_id) if request.HasField("parent_id") else None
        tags, request_id = findings.tags(request.tags), findings.request_id(request.request_id)
        findings.settle()
        metadata = dict_of(request.metadata, "metadata") if request.HasField("metadata") else None
        changed = await self._tree.update(artifact_id, metadata=metadata, parent_id=parent_id, tags=tags, request_id=request_id)
        return pb.UpdateArtifactResponse(artifact=artifact_message(changed))

    async def DeleteArtifact(self, request: pb.DeleteArtifactRequest, context: Context) -> pb.DeleteArtifactResponse:
        findings = Findings()
        artifact_id, request_id = findings.id("artifact_id", request.artifact_id), findings.request_id(request.request_id)
        findings.settle()
        await self._tree.delete(artifact_id, request_id=request_id)
        return pb.DeleteArtifactResponse()

    async def GetArtifactStats(self, request: pb.GetArtifactStatsRequest, context: Context) -> pb.GetArtifactStatsResponse:
        return pb.GetArtifactStatsResponse(total=await self._tree.count())

    async def ExpandArtifact(self, request: pb.ExpandArtifactRequest, context: Context) -> pb.ExpandArtifactResponse:
        return pb.ExpandArtifactResponse(node=node_message(await self._tree.expand(artifact_id_of(request))))

    async def GetArtifactTree(self, request: pb.GetArtifactTreeRequest, context: Context) -> pb.GetArtifactTreeResponse:
        return pb.GetArtifactTreeResponse(node=node_message(await self._tree.subtree(artifact_id_of(request))))

    async def GetArtifactConfig(self, request: pb.GetArtifactConfigRequest, context: Context) -> pb.GetArtifactConfigResponse:
        return pb.GetArtifactConfigResponse(config=config_message(await self._tree.config_of(artifact_id_of(request))))

    async def GetArtifactMetadata(self, request: pb.GetArtifactMetadataRequest, context: Context) -> pb.GetArtifactMetadataResponse:
        artifact = await self._tree.get(artifact_id_of(request))
        return pb.GetArtifactMetadataResponse(metadata=struct_of(artifact.metadata))

    async def DownloadArtifact(
        self, request: pb.DownloadArtifactRequest, context: Context
    ) -> AsyncIterator[pb.DownloadArtifactResponse]:
        findings = Findings()
        artifact_id = findings.id("artifact_id", request.artifact_id)
        offset = findings.not_negative("offset", request.offset)
        findings.settle()
        artifact, stored = await self._tree.content(artifact_id)
        zipped = request.zipped or artifact.content_type == WORKSPACE
        blob, chunks = await self._download(artifact, stored, offset, zipped=zipped)
        if offset > blob.size:
            findings.add("offset", f"is {offset:,}, but the content has only {blob.size:,} bytes")
            findings.settle()
        yield pb.DownloadArtifactResponse(header=header_of(artifact, blob, zipped=zipped))
        # A caller may leave at any time: the file is closed then, not when the garbage is collected.
        async with aclosing(chunks):
            async for chunk in chunks:
                offset += len(chunk)
                yield pb.DownloadArtifactResponse(chunk=chunk)
        if offset != blob.size:
            message = f"the content has {offset:,} bytes instead of {blob.size:,}"
            raise ContentCorrupted(message, digest=blob.digest)

    async def _download(
        self, artifact: Artifact, blob: Blob, offset: int, *, zipped: bool
    ) -> tuple[Blob, AsyncGenerator[bytes, None]]:
        """What is sent of an artifact: its content, or a zip file; and its bytes from the offset on."""
        if not zipped:
            return blob, self._blobs.read(blob.digest, offset=offset, chunk_size=LARGEST_PART)
        if artifact.content_type == WORKSPACE:
            archive = await archive_of(self._blobs, blob, artifact.created_at)
        else:
            archive = await archive_around(self._blobs, blob, name_in_zip(artifact), artifact.created_at)
        return await self._sent(artifact.id, archive), archive.chunks(offset)

    async def _sent(self, artifact_id: str, archive: Archive) -> Blob:
        """Digest and size of an archive, remembered since whoever was interrupted will ask again."""
        blob = self._archives.pop(artifact_id, None) or await archive.blob()
        self._archives[artifact_id] = blob
        while len(self._archives) > REMEMBERED_ARCHIVES:
            self._archives.popitem(last=False)
        return blob

    async def UploadArtifact(
        self, request_iterator: AsyncIterator[pb.UploadArtifactRequest], context: Context
    ) -> pb.UploadArtifactResponse:
        header = await first_header(request_iterator)
        new = new_artifact(header)
        async with self._tree.receiving(new) as writer:
            async for message in request_iterator:
                if message.WhichOneof("part") != "chunk":
                    raise out_of_order("part", "must be a chunk: the header comes once")
                await writer.write(chunk_of(message, "chunk"))
            if new.content_type == ARROW_STREAM:
                await check_written(writer, self._limits, "chunk")
            artifact = await self._tree.received(new, writer)
        return pb.UploadArtifactResponse(artifact=artifact_message(artifact))


async def first_header(messages: AsyncIterator[pb.UploadArtifactRequest]) -> pb.UploadHeader:
    """Raises InvalidField if the stream does not begin with a header."""
    message = await anext(aiter(messages), None)
    if message is None or message.WhichOneof("part") != "header":
        raise out_of_order("header", "is needed first")
    return message.header


def new_artifact(header: pb.UploadHeader) -> NewArtifact:
    """Raises InvalidField, InvalidId."""
    findings = Findings()
    if header.content_type.partition(";")[0].strip().lower() == WORKSPACE:
        # It would name content that its sender may have no business with.
        findings.add("content_type", "is for workspaces, which only jobs make; upload a zip file as application/zip")
    new = NewArtifact(
        id=findings.optional_id("id", header.id),
        type=findings.text("type", header.type),
        content_type=findings.media_type("content_type", header.content_type),
        metadata=dict_of(header.metadata, "metadata"),
        parent_id=findings.optional_id("parent_id", header.parent_id),
        tags=findings.tags(header.tags),
        digest=findings.digest("digest", header.digest),
        request_id=findings.request_id(header.request_id),
    )
    findings.settle()
    return new


def artifact_id_of(request: Any) -> str:
    findings = Findings()
    artifact_id = findings.id("artifact_id", request.artifact_id)
    findings.settle()
    return artifact_id


def header_of(artifact: Artifact, blob: Blob, *, zipped: bool) -> pb.DownloadHeader:
    content_type = ZIP if zipped else artifact.content_type
    return pb.DownloadHeader(
        content_type=content_type, content_size=blob.size, digest=blob.digest, filename=file_name(artifact.id, content_type)
    )


def file_name(artifact_id: str, content_type: str) -> str:
    suffix = _SUFFIXES.get(content_type) or mimetypes.guess_extension(content_type) or ""
    return f"artifact_{artifact_id}{suffix}"


def name_in_zip(artifact: Artifact) -> str:
    return "model.pickle" if artifact.content_type == PICKLE else file_name(artifact.id, artifact.content_type)
