"""Models that were made elsewhere, on their way to the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire.v1 import model_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelwire.content import UploadSource


def import_requests(header: pb.ImportHeader, source: UploadSource | None) -> Iterator[pb.ImportModelRequest]:
    """The messages that import a file, or what the header's address stands for."""
    yield pb.ImportModelRequest(header=header)
    if source is not None:
        for chunk in source.chunks():
            yield pb.ImportModelRequest(chunk=chunk)
