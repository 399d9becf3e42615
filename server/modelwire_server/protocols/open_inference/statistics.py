"""How many requests models have answered, and how long that took."""

import time
from collections import OrderedDict
from dataclasses import dataclass

from ...inference.predictor import Predicted
from .repository import VERSION
from .v2 import open_inference_pb2 as pb

# The models whose requests were the latest.
MOST_MODELS = 1000


@dataclass(slots=True)
class Counts:
    """Times are in seconds, all together; `last` is in milliseconds since 1970."""

    success: int = 0
    success_seconds: float = 0.0
    fail: int = 0
    fail_seconds: float = 0.0
    queue: float = 0.0
    input: float = 0.0
    infer: float = 0.0
    output: float = 0.0
    rows: int = 0
    last: int = 0

    def failed(self, seconds: float) -> None:
        self.fail += 1
        self.fail_seconds += seconds

    def answered(self, predicted: Predicted, *, rows: int, input: float, output: float, total: float) -> None:
        """One more; `input` and `output` are what reading and writing of tensors took."""
        self.success += 1
        self.success_seconds += total
        self.queue += predicted.queue_seconds
        self.input += input
        self.infer += predicted.compute_seconds
        self.output += output
        self.rows += rows


class Statistics:
    def __init__(self) -> None:
        self._counts: OrderedDict[str, Counts] = OrderedDict()

    def of(self, model: str) -> Counts:
        """What is counted of a model, to be added to."""
        counts = self._counts.setdefault(model, Counts())
        self._counts.move_to_end(model)
        if len(self._counts) > MOST_MODELS:
            self._counts.popitem(last=False)
        counts.last = time.time_ns() // 1_000_000
        return counts

    def message(self, model: str = "") -> pb.ModelStatisticsResponse:
        """Of one model, or of all that were used."""
        chosen = {model: self._counts.get(model, Counts())} if model else self._counts
        return pb.ModelStatisticsResponse(model_stats=[_message(name, counts) for name, counts in chosen.items()])


def _message(model: str, counts: Counts) -> pb.ModelStatistics:
    def spent(seconds: float, count: int = counts.success) -> pb.StatisticDuration:
        return pb.StatisticDuration(count=count, ns=round(seconds * 1e9))

    return pb.ModelStatistics(
        name=model,
        version=VERSION,
        last_inference=counts.last,
        inference_count=counts.rows,
        execution_count=counts.success,
        inference_stats=pb.InferStatistics(
            success=spent(counts.success_seconds),
            fail=spent(counts.fail_seconds, counts.fail),
            queue=spent(counts.queue),
            compute_input=spent(counts.input),
            compute_infer=spent(counts.infer),
            compute_output=spent(counts.output),
        ),
    )
