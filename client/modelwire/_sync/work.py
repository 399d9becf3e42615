# Generated from ../_async by scripts/generate_client.py. Do not edit.

"""Training and predicting."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from modelwire._seams import blocking as seam
from modelwire._sync.connection import Connection, new_request_id
from modelwire._sync.jobs import Job
from modelwire.chunks import decode
from modelwire.errors import InvalidArgument, Unavailable
from modelwire.payload import Conversation, GeoLike, Payload, RunInfoLike, bundles, empty_like, raise_if_error, run_info_message
from modelwire.v1 import predict_service_pb2, train_service_pb2

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from modelwire._sync.artifacts import Artifact
    from modelwire._sync.configs import Config
    from modelwire._sync.models import Model
    from modelwire.frames import FrameLike


def train(
    connection: Connection,
    config: Config | str,
    data: FrameLike,
    *,
    geo: GeoLike | None,
    run_info: RunInfoLike | None,
    timeout: float | None,
    tags: Sequence[str],
    model_id: str,
    priority: int,
) -> Job[Model]:
    """Submits a training, see Client.train."""
    request = train_service_pb2.TrainRequest(
        config_id=id_of(config),
        run_info=run_info_message(run_info),
        request_id=new_request_id(),
        tags=tags,
        model_id=model_id,
        priority=priority,
    )
    _set_timeout(request, timeout)
    payload = seam.in_thread(Payload, {"data": data}, geo)
    stub = connection.stubs.train
    answer = _submit(connection, stub.Train, stub.TrainStream, train_service_pb2.TrainStreamRequest, request, payload)
    return Job(
        id=answer.job_id,
        kind="train",
        stage="queued",
        artifact_id=answer.artifact_id,
        config_id=request.config_id,
        _connection=connection,
    )


def submit_prediction(
    connection: Connection,
    model: Model | str,
    future: FrameLike,
    historic: FrameLike | None,
    *,
    geo: GeoLike | None,
    run_info: RunInfoLike | None,
    timeout: float | None,
    tags: Sequence[str],
    prediction_id: str,
    priority: int,
) -> Job[Artifact]:
    """Submits a prediction as a job, see Client.submit_prediction."""
    request = predict_service_pb2.SubmitPredictionRequest(
        artifact_id=id_of(model),
        run_info=run_info_message(run_info),
        request_id=new_request_id(),
        tags=tags,
        prediction_id=prediction_id,
        priority=priority,
    )
    _set_timeout(request, timeout)
    past = empty_like(future) if historic is None else historic
    payload = seam.in_thread(Payload, {"historic": past, "future": future}, geo)
    stub, part = connection.stubs.predict, predict_service_pb2.SubmitPredictionStreamRequest
    answer = _submit(connection, stub.SubmitPrediction, stub.SubmitPredictionStream, part, request, payload)
    return Job(
        id=answer.job_id,
        kind="predict",
        stage="queued",
        artifact_id=answer.artifact_id,
        model_id=request.artifact_id,
        _connection=connection,
    )


def _submit(connection: Connection, whole: Any, stream: Any, part: Any, request: Any, payload: Payload) -> Any:
    if payload.is_small:
        return connection.call(whole, payload.fill(request))
    return connection.send(stream, lambda: payload.requests(part, request), replayable=payload.replayable)


def predict(
    connection: Connection,
    model: Model | str,
    future: FrameLike,
    historic: FrameLike | None,
    *,
    geo: GeoLike | None,
    run_info: RunInfoLike | None,
    timeout: float | None,
) -> Any:
    """Predicts at once, see Client.predict."""
    request = predict_service_pb2.PredictRequest(model=id_of(model), run_info=run_info_message(run_info))
    payload = seam.in_thread(Payload, {"historic": historic, "future": future}, geo)
    if payload.is_small:
        answer = connection.call(connection.stubs.predict.Predict, payload.fill(request), timeout=timeout)
        return payload.sources["future"].like_me(decode(answer.predictions.arrow))
    predict_once = partial(_predict_large, connection, request, payload, timeout)
    return raise_if_error(connection.persist(predict_once, replayable=payload.replayable))


def _predict_large(
    connection: Connection, request: predict_service_pb2.PredictRequest, payload: Payload, timeout: float | None
) -> Any:
    """The predictions, or the error with which the server answers."""
    idle = connection.settings.stall_timeout
    with Conversation(request, [payload]) as conversation:
        answers = connection.converse(connection.stubs.predict_stream, conversation.requests(), idle=idle, timeout=timeout)
        with closing(answers):
            for answer in answers:
                for _, result in conversation.take(answer):
                    return result
    raise Unavailable(f"{connection.settings.target} ended the stream without an answer")


def predict_many(
    connection: Connection,
    model: Model | str,
    futures: Iterable[FrameLike],
    historic: FrameLike | None,
    *,
    geo: GeoLike | None,
    run_info: RunInfoLike | None,
    errors: Literal["raise", "return"],
    out_of_order: bool,
    in_flight: int | None,
) -> Generator[Any, None]:
    """Predicts for many frames over one stream, see Client.predict_many."""
    if in_flight is not None and in_flight < 1:
        raise InvalidArgument.of("in_flight", f"must be at least 1, not {in_flight}")
    request = predict_service_pb2.PredictRequest(model=id_of(model), run_info=run_info_message(run_info))
    options = predict_service_pb2.PredictStreamOptions(out_of_order=out_of_order, bundled=True)
    with seam.readable(futures) as frames:
        payloads = (Payload({"historic": historic, "future": future}, geo) for future in frames)
        with Conversation(request, payloads, options=options, in_flight=in_flight) as conversation:
            answers = connection.converse(connection.stubs.predict_stream, conversation.requests(), idle=None, pack=bundles)
            with closing(answers):
                for answer in answers:
                    for number, result in conversation.take(answer):
                        if errors == "raise":
                            raise_if_error(result)
                        yield (number, result) if out_of_order else result


def id_of(thing: Config | Model | Artifact | str) -> str:
    """The id of something that may be given by its id."""
    return thing if isinstance(thing, str) else thing.id


def _set_timeout(request: Any, timeout: float | None) -> None:
    if timeout is not None:
        request.timeout.FromNanoseconds(int(timeout * 1e9))
