"""What the server tells of its predictors, as plain dataclasses. Times are aware UTC."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from modelwire.errors import InvalidArgument
from modelwire.v1 import error_pb2
from modelwire.values import from_struct, from_value

if TYPE_CHECKING:
    from modelwire.v1 import predictor_service_pb2 as pb


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """Whether a predictor has predicted and scored on its test inputs, and when that was found out; `message` says why not."""

    predictor: str
    ready: bool
    message: str
    checked_at: datetime = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class PredictorInfo:
    """A predictor: what it takes as JSON Schema, and inputs to try."""

    name: str
    version: str
    created_at: datetime = field(repr=False)
    predict_schema: dict[str, Any] = field(repr=False)
    score_schema: dict[str, Any] = field(repr=False)
    test_predict_input: Any = field(repr=False)
    test_score_input: Any = field(repr=False)
    readiness: Readiness = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class PredictOutcome:
    """What became of one payload of a batch: its prediction, or why there is none.

    `reason` is empty if all went well, else a name such as INVALID_PAYLOAD; `fields` are the places of the payload that are wrong.
    """

    prediction: Any = None
    reason: str = ""
    message: str = ""
    fields: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is a prediction."""
        return not self.reason


def payload_text(payload: Any) -> str:
    """A payload as JSON; arrays and scalars of NumPy count as lists and numbers. Raises InvalidArgument for what JSON cannot say."""
    try:
        return json.dumps(payload, allow_nan=False, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument.of("data", f"cannot be sent as JSON: {error}") from None


def _plain(value: Any) -> Any:
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(type(value).__name__)


def predictor_of(message: pb.Predictor) -> PredictorInfo:
    """The predictor of a message."""
    return PredictorInfo(
        name=message.name,
        version=message.version,
        created_at=message.created_at.ToDatetime(UTC),
        predict_schema=from_struct(message.predict_schema),
        score_schema=from_struct(message.score_schema),
        test_predict_input=from_value(message.test_predict_input),
        test_score_input=from_value(message.test_score_input),
        readiness=readiness_of(message.readiness),
    )


def readiness_of(message: pb.PredictorReadiness) -> Readiness:
    """The readiness of a message."""
    return Readiness(
        predictor=message.predictor, ready=message.ready, message=message.message, checked_at=message.checked_at.ToDatetime(UTC)
    )


def outcome_of(message: pb.PredictBatchOutcome) -> PredictOutcome:
    """The outcome of a message."""
    if message.WhichOneof("outcome") != "failure":
        return PredictOutcome(prediction=from_value(message.data))
    failure = message.failure
    known = failure.reason in error_pb2.ErrorReason.values()
    reason = error_pb2.ErrorReason.Name(failure.reason).removeprefix("ERROR_REASON_") if known else "UNKNOWN"
    return PredictOutcome(reason=reason, message=failure.message, fields=tuple(failure.fields))
