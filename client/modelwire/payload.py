"""The data of a training or a prediction: in one message when small, in chunks when not."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from itertools import count, groupby
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

from modelwire.chunks import SMALL, ReceivedFrame, decode, encode, encode_buffers, encode_chunks, slices
from modelwire.errors import InvalidArgument, ModelwireError
from modelwire.frames import FrameLike, FrameSource
from modelwire.records import RunInfo
from modelwire.statuses import error_of_status
from modelwire.v1 import frame_pb2, predict_service_pb2, run_info_pb2
from modelwire.values import to_struct
from modelwire.wire import field_tag, read_chunk, read_tag, write_bundle, write_chunk

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

# The most that travels in a bundle, unless one message alone is larger.
BUNDLE_MESSAGES = 64
BUNDLE_BYTES = 256 * 1024

_TAGS = {
    field.name: field_tag(field.number)
    for field in predict_service_pb2.PredictStreamRequest.DESCRIPTOR.fields
    if field.type == field.TYPE_BYTES
}
_WHOLE = field_tag(predict_service_pb2.PredictStreamRequest.WHOLE_FIELD_NUMBER)
_BUNDLE = field_tag(predict_service_pb2.PredictStreamRequest.BUNDLE_FIELD_NUMBER)
_PREDICTIONS = field_tag(predict_service_pb2.PredictStreamResponse.PREDICTIONS_FIELD_NUMBER)


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

    def numbered(self, call: int) -> Iterator[bytes]:
        """The chunks as messages of PredictStream. Those of `future` come last: it is predicted while it arrives."""
        if self._geo is not None:
            yield from (write_chunk(call, _TAGS["geo"], [chunk]) for chunk in slices(self._geo_text))
        for role in sorted(self.sources, key="future".__eq__):
            yield from (write_chunk(call, _TAGS[role], buffers) for buffers in encode_buffers(self.sources[role]))

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
    """Predictions on one stream: makes the requests, and puts the answers together. Use as a context manager.

    `header` names the model and what is common to all predictions, `options` say how they are answered; `payloads` are made while
    they are sent, in another thread, and no more than `in_flight` before their answers are there.
    """

    def __init__(
        self,
        header: predict_service_pb2.PredictRequest,
        payloads: Iterable[Payload],
        *,
        options: predict_service_pb2.PredictStreamOptions | None = None,
        in_flight: int | None = None,
    ) -> None:
        self._header = header
        self._payloads = iter(payloads)
        self._options = options
        self._room = None if in_flight is None else threading.Semaphore(in_flight)
        self._is_over = False
        self._asked: dict[int, FrameSource] = {}
        self._received: dict[int, ReceivedFrame] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._make_room()

    def requests(self) -> Iterator[bytes]:
        """The messages, numbered 1, 2, 3 ... by prediction."""
        part = predict_service_pb2.PredictStreamRequest
        if self._options is not None:
            yield part(options=self._options).SerializeToString()
        for call in count(1):
            if (payload := self._next()) is None:
                return
            self._asked[call] = payload.sources["future"]
            if payload.is_small:
                whole = predict_service_pb2.PredictRequest()
                whole.CopyFrom(self._header)
                yield part(call=call, whole=payload.fill(whole)).SerializeToString()
                continue
            yield part(call=call, header=self._header).SerializeToString()
            yield from payload.numbered(call)
            yield part(call=call, end=predict_service_pb2.PredictStreamEnd()).SerializeToString()

    def _next(self) -> Payload | None:
        """What is to be asked next, once there is room for it."""
        if self._room is not None:
            self._room.acquire()
        return None if self._is_over else next(self._payloads, None)

    def _make_room(self) -> None:
        if self._room is not None:
            self._room.release()

    def take(self, message: bytes) -> Iterator[tuple[int, Any]]:
        """Takes the next part of the answers, or a bundle of them. Gives the number, counted from 0, of each prediction that it
        completes, and a frame or a ModelwireError."""
        if chunk := read_chunk(message, (_PREDICTIONS,)):
            self._frame(chunk[0]).feed(chunk[2])
            return
        answer = predict_service_pb2.PredictStreamResponse.FromString(message)
        for part in answer.bundle.parts if answer.HasField("bundle") else (answer,):
            if (result := self._result(part)) is not None:
                yield part.call - 1, result

    def _result(self, answer: predict_service_pb2.PredictStreamResponse) -> Any:
        call, part = answer.call, answer.WhichOneof("part")
        if part == "predictions":
            self._frame(call).feed(answer.predictions)
            return None
        if part is None:
            return None
        source, received = self._asked.pop(call), self._received.pop(call, None)
        self._make_room()
        if part == "error":
            return error_of_status(answer.error)
        table = decode(answer.whole.predictions.arrow) if part == "whole" else (received or ReceivedFrame()).result()
        return source.like_me(table)

    def _frame(self, call: int) -> ReceivedFrame:
        return self._received.setdefault(call, ReceivedFrame())


def bundles(ready: Iterable[bytes]) -> Iterator[bytes]:
    """Messages of PredictStream in their order, where those of small predictions that follow one another share bundles."""
    for is_whole, messages in groupby(ready, _is_whole):
        share = _bundled if is_whole else iter
        yield from share(messages)


def _is_whole(message: bytes) -> bool:
    return read_tag(message) == _WHOLE


def _bundled(messages: Iterable[bytes]) -> Iterator[bytes]:
    together: list[bytes] = []
    size = 0
    for message in messages:
        if together and (len(together) == BUNDLE_MESSAGES or size + len(message) > BUNDLE_BYTES):
            yield _as_one(together)
            together, size = [], 0
        together.append(message)
        size += len(message)
    yield _as_one(together)


def _as_one(messages: list[bytes]) -> bytes:
    return messages[0] if len(messages) == 1 else write_bundle(_BUNDLE, messages)


def frame_message(frame: FrameLike, field: str) -> frame_pb2.Frame:
    """A small frame as a message."""
    return frame_pb2.Frame(arrow=encode(FrameSource(frame, field)))


def raise_if_error(answer: Any) -> Any:
    """The answer, unless it is an error."""
    if isinstance(answer, ModelwireError):
        raise answer
    return answer
