"""Predictors: models that take JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from modelwire.predictors import (
    PredictorInfo,
    PredictOutcome,
    Readiness,
    outcome_of,
    payload_text,
    predictor_of,
    readiness_of,
)
from modelwire.v1 import predictor_service_pb2 as pb
from modelwire.values import from_value, to_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelwire._async.connection import AsyncConnection

# As many payloads as one call may have.
AT_ONCE = 1_000


class AsyncPredictors:
    """`client.predictors`: the predictors of the server. A payload is whatever JSON the predictor's schema allows."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    @property
    def _stub(self) -> Any:
        return self._connection.stubs.predictors

    async def list(self) -> tuple[PredictorInfo, ...]:
        """All predictors, in the order in which the server was started with them."""
        answer = await self._connection.call(self._stub.ListPredictors, pb.ListPredictorsRequest())
        return tuple(predictor_of(one) for one in answer.predictors)

    async def get(self, name: str) -> PredictorInfo:
        """One predictor: its schemas, inputs to try, and whether it works. Raises NotFound."""
        answer = await self._connection.call(self._stub.GetPredictor, pb.GetPredictorRequest(predictor=name))
        return predictor_of(answer.predictor)

    async def predict(self, name: str, payload: Any, *, timeout: float | None = None) -> Any:
        """Predicts from one payload; answers with whatever JSON the predictor does. `timeout` is in seconds.

        Raises NotFound, Internal, and InvalidArgument, whose `violations` name each place of the payload that is wrong.
        """
        request = pb.PredictorServicePredictRequest(predictor=name, data_json=payload_text(payload))
        answer = await self._connection.call(self._stub.Predict, request, timeout=timeout)
        return json.loads(answer.data_json) if answer.data_json else from_value(answer.data)

    async def predict_batch(
        self, name: str, payloads: Iterable[Any], *, timeout: float | None = None
    ) -> tuple[PredictOutcome, ...]:
        """Predicts from several payloads, in parallel on the server: an outcome for each, of which some may have failed.

        `timeout` is for each 1,000 of them, which go together. Raises NotFound, ResourceExhausted.
        """
        items = [to_value(payload, f"payloads[{number}]") for number, payload in enumerate(payloads)]
        outcomes: list[PredictOutcome] = []
        for first in range(0, len(items), AT_ONCE):
            request = pb.PredictBatchRequest(predictor=name, items=items[first : first + AT_ONCE])
            answer = await self._connection.call(self._stub.PredictBatch, request, timeout=timeout)
            outcomes += [outcome_of(one) for one in answer.outcomes]
        return tuple(outcomes)

    async def score(self, name: str, payload: Any, *, timeout: float | None = None) -> dict[str, float]:
        """How good a predictor is on data whose truth is known, by the names of the scores; one without a name is `score`.

        Raises as `predict` does.
        """
        request = pb.PredictorServiceScoreRequest(predictor=name, data_json=payload_text(payload))
        answer = await self._connection.call(self._stub.Score, request, timeout=timeout)
        return dict(sorted(answer.scores.items()))

    async def ready(self, name: str = "", *, timeout: float | None = None) -> bool:
        """Whether a predictor works, or all: each predicts and scores on its test inputs. Raises NotFound."""
        return all(state.ready for state in await self.readiness(name, timeout=timeout))

    async def readiness(self, name: str = "", *, timeout: float | None = None) -> tuple[Readiness, ...]:
        """Whether a predictor works, or each, and why not. Raises NotFound."""
        answer = await self._connection.call(self._stub.CheckReadiness, pb.CheckReadinessRequest(predictor=name), timeout=timeout)
        return tuple(readiness_of(one) for one in answer.predictors)
