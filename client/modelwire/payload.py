"""The data of a training or a prediction: in one message when small, in chunks when not."""

from __future__ import annotations

import json
from collections import deque
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

from modelwire.chunks import SMALL, FrameAssembler, decode, encode, encode_chunks, slices
from modelwire.errors import InvalidArgument, ModelwireError
from modelwire.frames import FrameLike, FrameSource
from modelwire.records import RunInfo
from modelwire.statuses import error_of_status
from modelwire.v1 import frame_pb2, predict_service_pb2, run_info_pb2
from modelwire.values import to_struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import pyarrow as pa


class HasGeoInterface(Protocol):
    """What geopandas, shapely and others offer."""

    @property
    def __geo_interface__(self) -> dict[str, Any]: ...


# A GeoJSON FeatureCollection, or an object such as a geopandas.GeoDataFrame.
GeoLike: TypeAlias = "Mapping[str, Any] | HasGeoInterface"
RunInfoLike: TypeAlias = "RunInfo | Mapping[str, Any]"


class Payload:
    """The frames, by role, and the GeoJSON of one request."""

    def __init__(self, frames: Mapping[str, FrameLike], geo: GeoLike | None = None) -> None:
        self.sources = {role: FrameSource(frame, role) for role, frame in frames.items() if frame is not None}
        self._geo: Any = getattr(geo, "__geo_interface__", geo)
        self._geo_text = _json(self._geo)
        self.replayable = all(source.replayable for source in self.sources.values())
        self.is_small = self._fits()

    def _fits(self) -> bool:
        left = SMALL - len(self._geo_text)
        return left >= 0 and all(source.is_small(left // len(self.sources)) for source in self.sources.values())

    def fill(self, request: Any) -> Any:
        """The request with frames and GeoJSON in it."""
        for role, source in self.sources.items():
            getattr(request, role).arrow = encode(source)
        if self._geo is not None:
            request.geo.CopyFrom(to_struct(self._geo, "geo"))
        return request

    def parts(self) -> Iterator[dict[str, bytes]]:
        """The chunks, each under the name of its field."""
        for role, source in self.sources.items():
            for chunk in encode_chunks(source):
                yield {role: chunk}
        if self._geo is not None:
            for chunk in slices(self._geo_text):
                yield {"geo": chunk}

    def requests(self, message: Callable[..., Any], header: Any) -> Iterator[Any]:
        """The messages of a streaming call: the header, then the chunks."""
        yield message(header=header)
        for part in self.parts():
            yield message(**part)


def _json(geo: Any) -> bytes:
    if geo is None:
        return b""
    try:
        return json.dumps(geo, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidArgument.of("geo", f"is not GeoJSON: {error}", reason="INVALID_GEO") from None


def run_info_message(run_info: RunInfoLike | None) -> run_info_pb2.RunInfo | None:
    """The message of a RunInfo, or of a mapping with its fields."""
    if run_info is None:
        return None
    values = asdict(run_info) if isinstance(run_info, RunInfo) else dict(run_info)
    try:
        return run_info_pb2.RunInfo(**values)
    except (TypeError, ValueError) as error:
        raise InvalidArgument.of("run_info", str(error)) from None


def empty_like(frame: FrameLike) -> pa.Table:
    """A frame with the same columns and no rows."""
    return FrameSource(frame, "future").schema.empty_table()


class Conversation:
    """Predictions on one stream: makes the requests, and puts the answers together. A context manager.

    `header` names the model and what is common to all predictions; `payloads` are made while they are sent.
    """

    def __init__(self, header: predict_service_pb2.PredictRequest, payloads: Iterable[Payload]) -> None:
        self._header = header
        self._payloads = payloads
        self._asked: deque[FrameSource] = deque()
        self._assembler: FrameAssembler | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def requests(self) -> Iterator[predict_service_pb2.PredictStreamRequest]:
        """The messages, numbered 1, 2, 3 ... by prediction."""
        message = predict_service_pb2.PredictStreamRequest
        for call, payload in enumerate(self._payloads, start=1):
            self._asked.append(payload.sources["future"])
            if payload.is_small:
                whole = predict_service_pb2.PredictRequest()
                whole.CopyFrom(self._header)
                yield message(call=call, whole=payload.fill(whole))
                continue
            yield message(call=call, header=self._header)
            for part in payload.parts():
                yield message(call=call, **part)  # type: ignore[arg-type] # the names of the fields are those of the roles
            yield message(call=call, end=predict_service_pb2.PredictStreamEnd())

    def take(self, answer: predict_service_pb2.PredictStreamResponse) -> Any:
        """Takes the next part of the answers. Returns a frame or a ModelwireError when it completes one, else None."""
        match answer.WhichOneof("part"):
            case "whole":
                return self._asked.popleft().like_me(decode(answer.whole.predictions.arrow))
            case "predictions":
                self._assembling().feed(answer.predictions)
            case "end":
                return self._asked.popleft().like_me(self._finish())
            case "error":
                self._asked.popleft()
                self._drop()
                return error_of_status(answer.error)
        return None

    def _assembling(self) -> FrameAssembler:
        if self._assembler is None:
            self._assembler = self._open.enter_context(FrameAssembler())
        return self._assembler

    def _finish(self) -> pa.Table:
        try:
            return self._assembling().result()
        finally:
            self._drop()

    def _drop(self) -> None:
        self._assembler = None
        self._open.close()


def frame_message(frame: FrameLike, field: str) -> frame_pb2.Frame:
    """A small frame as a message."""
    return frame_pb2.Frame(arrow=encode(FrameSource(frame, field)))


def raise_if_error(answer: Any) -> Any:
    """The answer, unless it is an error."""
    if isinstance(answer, ModelwireError):
        raise answer
    return answer
