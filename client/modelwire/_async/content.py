"""Content of artifacts: there and back, over broken connections, checked against its digest."""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from typing import TYPE_CHECKING

from modelwire._seams import asynchronous as seam
from modelwire.backoff import Backoff
from modelwire.errors import DataLoss, ModelwireError
from modelwire.statuses import connection_broke
from modelwire.v1 import artifact_pb2, artifact_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from modelwire._async.connection import AsyncConnection
    from modelwire.content import UploadSource


class AsyncDownload:
    """The content of an artifact. `header` is there once the first chunk is."""

    def __init__(self, connection: AsyncConnection, artifact_id: str) -> None:
        self._connection = connection
        self._request = artifact_service_pb2.DownloadArtifactRequest(artifact_id=artifact_id)
        self._backoff = Backoff(connection.settings.reconnect_for)
        self._hash = hashlib.sha256()
        self.header = artifact_service_pb2.DownloadHeader()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The content, from the place where a broken connection left off. Raises DataLoss if it does not have its digest."""
        while True:
            try:
                async with aclosing(self._connected()) as chunks:
                    async for chunk in chunks:
                        yield chunk
                break
            except ModelwireError as error:
                if not connection_broke(error):
                    raise
                delay = self._backoff.next(error)
            await seam.sleep(delay)
        digest = f"sha256:{self._hash.hexdigest()}"
        if digest != self.header.digest:
            name = self._request.artifact_id
            raise DataLoss(f"the content of {name} arrived damaged: it has {digest}, not {self.header.digest}")

    async def _connected(self) -> AsyncGenerator[bytes, None]:
        download = self._connection.stubs.artifacts.DownloadArtifact
        parts = self._connection.receive(download, self._request, idle=self._connection.settings.stall_timeout)
        async with aclosing(parts):
            async for part in parts:
                if part.HasField("header"):
                    self.header = part.header
                    continue
                self._backoff.reset()
                self._request.offset += len(part.chunk)
                self._hash.update(part.chunk)
                yield part.chunk


async def upload(
    connection: AsyncConnection, header: artifact_service_pb2.UploadHeader, source: UploadSource
) -> artifact_pb2.Artifact:
    """Stores content as a new artifact. Raises DataLoss if the server stored something else than was sent."""
    header.digest = await seam.in_thread(source.digest_ahead)
    answer = await connection.send(
        connection.stubs.artifacts.UploadArtifact,
        lambda: source.requests(header),
        replayable=source.replayable,
    )
    if answer.artifact.data.digest != source.digest_sent:
        raise DataLoss(f"{answer.artifact.id} arrived damaged: {answer.artifact.data.digest}, not {source.digest_sent}")
    return answer.artifact
