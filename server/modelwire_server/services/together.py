"""Predictions that are alike, answered by one call of the model.

Who predicts row after row on a stream sends the same message each time, but for the values. Those that have arrived at the same time are
one frame for the model, and each answer is cut out of its predictions. Where that cannot be - rows that depend on each other, a
prediction that fails - each is answered by itself, so that it gets what it would have got alone.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

from modelwire.v1 import frame_pb2
from modelwire.v1 import predict_service_pb2 as pb
from modelwire.wire import field_tag, write_head

from ..errors import ModelwireError
from ..frames import write_frame
from ..inference.orders import NotTogether
from ..inference.predictor import Predicted
from ..layouts import Layout, PlainFrames
from ..metrics import ServerMetrics
from ..prediction import Prediction, PredictOrder
from .frames import FrameReader, answers
from .messages import POLICIES, fill_timing

# Larger frames are better left where they are.
LARGEST = 64 << 10
_FORMS = (frame_pb2.FRAME_FORM_UNSPECIFIED, frame_pb2.FRAME_FORM_ARROW)
_PREDICTIONS = field_tag(pb.PredictResponse.PREDICTIONS_FIELD_NUMBER)
_ARROW = field_tag(frame_pb2.Frame.ARROW_FIELD_NUMBER)


class Likeness(NamedTuple):
    """What predictions have in common that are computed together."""

    model: str
    engine: str
    policy: "pb.SchemaPolicy.ValueType"
    layout: Layout


class Alike(NamedTuple):
    """A prediction that may be computed with others: what it has in common with them, and its frame."""

    likeness: Likeness
    frame: bytes


class Together:
    """Answers predictions that are alike. Up to `max_rows` go into a call."""

    def __init__(self, *, prediction: Prediction, reader: FrameReader, metrics: ServerMetrics, max_rows: int) -> None:
        self._prediction = prediction
        self._reader = reader
        self._metrics = metrics
        self._max_rows = max_rows

    def alike(self, request: pb.PredictRequest) -> Alike | None:
        """None if the request has more to it than a small frame of a known layout."""
        if request.HasField("historic") or request.HasField("geo") or request.HasField("run_info"):
            return None
        if request.form not in _FORMS or request.schema_policy not in POLICIES:
            return None
        frame = self._reader.known(request.future)
        if frame is None or len(frame.data) > LARGEST:
            return None
        return Alike(Likeness(request.model, request.engine, request.schema_policy, frame.layout), frame.data)

    def most(self, likeness: Likeness) -> int:
        """How many of these go into a call."""
        return max(1, self._max_rows // likeness.layout.rows)

    async def answer(self, likeness: Likeness, frames: Sequence[bytes]) -> list[bytes] | None:
        """A PredictResponse for each; None if they are to be answered one by one."""
        began = time.perf_counter()
        order = PredictOrder(
            model=likeness.model,
            future=PlainFrames(frames, likeness.layout),
            schema_policy=POLICIES[likeness.policy],
            engine=likeness.engine,
        )
        try:
            predicted = await self._prediction.predict(order)
        except (NotTogether, ModelwireError):
            return None
        contents = _cut(predicted, likeness.layout.rows)
        total = time.perf_counter() - began
        self._metrics.predicted(predicted, total, len(frames))
        rest = _what_all_say(predicted, total)
        return [_head(content) + content + rest for content in contents]


def _cut(predicted: Predicted, rows: int) -> list[bytes]:
    """The Arrow stream of each so many rows."""
    if isinstance(predicted.answer, dict):
        return answers.write_each(predicted.answer, rows)
    table = predicted.answer
    return [write_frame(table.slice(at, rows)) for at in range(0, table.num_rows, rows)]


def _what_all_say(predicted: Predicted, total_seconds: float) -> bytes:
    response = pb.PredictResponse(model_id=predicted.model_id, engine=predicted.engine, model_version=predicted.version)
    fill_timing(response.timing, predicted, total_seconds)
    return response.SerializeToString()


def _head(content: bytes) -> bytes:
    """What stands before a frame in a PredictResponse."""
    head = write_head(_ARROW, len(content))
    return write_head(_PREDICTIONS, len(head) + len(content)) + head
