"""PredictorService: models of any kind that take JSON."""

import json
from functools import partial
from typing import Any

from modelwire.v1 import predictor_service_pb2 as pb
from modelwire.v1.predictor_service_pb2_grpc import PredictorServiceServicer
from modelwire_runners import Predictor

from ..errors import FieldViolation, InvalidField, ModelwireError
from ..interceptors.around import Context
from ..predictors.answering import predicted, scored
from ..predictors.desk import PredictorDesk
from ..predictors.readiness import Readiness
from .messages import reason_number, timestamp
from .values import fill_value, fits_value, has_large_integers, struct_of, value_from_json, value_of

MOST_ITEMS = 1_000
# Seconds that a description waits for whether the predictor works.
PATIENCE = 1.0
# What callers call a payload.
FIELD = "data"

Asking = pb.PredictorServicePredictRequest | pb.PredictorServiceScoreRequest


class PredictorServicer(PredictorServiceServicer):
    def __init__(self, predictors: PredictorDesk) -> None:
        self._predictors = predictors

    async def ListPredictors(self, request: pb.ListPredictorsRequest, context: Context) -> pb.ListPredictorsResponse:
        found = zip(self._predictors.all(), await self._predictors.readiness(patience=PATIENCE), strict=True)
        return pb.ListPredictorsResponse(predictors=[predictor_message(predictor, state) for predictor, state in found])

    async def GetPredictor(self, request: pb.GetPredictorRequest, context: Context) -> pb.GetPredictorResponse:
        predictor = self._predictors.get(request.predictor)
        (state,) = await self._predictors.readiness(predictor.name, patience=PATIENCE)
        return pb.GetPredictorResponse(predictor=predictor_message(predictor, state))

    async def Predict(self, request: pb.PredictorServicePredictRequest, context: Context) -> pb.PredictorServicePredictResponse:
        return await self._predictors.run(request.predictor, partial(_predict, request))

    async def PredictBatch(self, request: pb.PredictBatchRequest, context: Context) -> pb.PredictBatchResponse:
        predictor = self._predictors.get(request.predictor)
        if len(request.items) > MOST_ITEMS:
            text = f"has {len(request.items):,} payloads; at most {MOST_ITEMS:,} are allowed"
            raise InvalidField.of(FieldViolation("items", text))
        outcomes = await self._predictors.run_all(predictor.name, [partial(_outcome, item) for item in request.items])
        return pb.PredictBatchResponse(predictor=predictor.name, version=predictor.version, outcomes=outcomes)

    async def Score(self, request: pb.PredictorServiceScoreRequest, context: Context) -> pb.PredictorServiceScoreResponse:
        return await self._predictors.run(request.predictor, partial(_score, request))

    async def CheckReadiness(self, request: pb.CheckReadinessRequest, context: Context) -> pb.CheckReadinessResponse:
        states = await self._predictors.readiness(request.predictor)
        return pb.CheckReadinessResponse(ready=all(one.ready for one in states), predictors=map(readiness_message, states))


def _payload_of(request: Asking) -> Any:
    """Raises InvalidField."""
    if request.data_json:
        return value_from_json(request.data_json, FIELD)
    return value_of(request.data, FIELD)


def _predict(request: pb.PredictorServicePredictRequest, predictor: Predictor) -> pb.PredictorServicePredictResponse:
    result = predicted(predictor, _payload_of(request), FIELD)
    answer = pb.PredictorServicePredictResponse(predictor=predictor.name, version=predictor.version)
    if request.data_json or has_large_integers(result) or not fits_value(result):
        answer.data_json = json.dumps(result, ensure_ascii=False, allow_nan=False).encode(errors="replace").decode()
    else:
        fill_value(answer.data, result)
    return answer


def _score(request: pb.PredictorServiceScoreRequest, predictor: Predictor) -> pb.PredictorServiceScoreResponse:
    found = scored(predictor, _payload_of(request), FIELD)
    return pb.PredictorServiceScoreResponse(
        predictor=predictor.name, version=predictor.version, scores=found.values, single=found.single
    )


def _outcome(item: Any, predictor: Predictor) -> pb.PredictBatchOutcome:
    outcome = pb.PredictBatchOutcome()
    try:
        fill_value(outcome.data, predicted(predictor, value_of(item, FIELD), FIELD))
    except ModelwireError as error:
        fields = [violation.field for violation in error.violations]
        outcome.failure.CopyFrom(pb.PredictBatchFailure(reason=reason_number(error.reason), message=error.message, fields=fields))
    return outcome


def predictor_message(predictor: Predictor, state: Readiness) -> pb.Predictor:
    message = pb.Predictor(
        name=predictor.name,
        version=predictor.version,
        created_at=timestamp(predictor.created_at),
        predict_schema=struct_of(predictor.predict_schema),
        score_schema=struct_of(predictor.score_schema),
        readiness=readiness_message(state),
    )
    fill_value(message.test_predict_input, predictor.test_predict_input)
    fill_value(message.test_score_input, predictor.test_score_input)
    return message


def readiness_message(state: Readiness) -> pb.PredictorReadiness:
    return pb.PredictorReadiness(
        predictor=state.predictor, ready=state.ready, message=state.message, checked_at=timestamp(state.checked_at)
    )
