"""PredictorService, as callers of gRPC see it."""

import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf import struct_pb2
from google.protobuf.json_format import MessageToDict, ParseDict
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from modelwire.v1 import error_pb2
from modelwire.v1 import predictor_service_pb2 as pb


def value(data: Any) -> struct_pb2.Value:
    return ParseDict(data, struct_pb2.Value())


def predict(server: Any, name: str, data: Any, timeout: float = 30) -> Any:
    answer = server.stub.Predict(pb.PredictorServicePredictRequest(predictor=name, data=value(data)), timeout=timeout)
    return MessageToDict(answer.data)


def refused(call: Callable[[], Any]) -> tuple[str, str, list[str], str]:
    """Code, reason, the places that are wrong, and the message."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    status = rpc_status.from_call(caught.value)
    assert status is not None, caught.value
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        _ = detail.Unpack(info) or detail.Unpack(bad)
    code = next(code.name for code in grpc.StatusCode if code.value[0] == status.code)
    return code, info.reason, [one.field for one in bad.field_violations], status.message


def test_several_models_are_served_together_from_one_list(server: Any) -> None:
    listed = server.stub.ListPredictors(pb.ListPredictorsRequest()).predictors
    assert [one.name for one in listed] == ["doubling", "free", "strict", "fragile", "slow"]


def test_version_creation_time_schemas_and_test_inputs_are_told(server: Any) -> None:
    found = server.stub.GetPredictor(pb.GetPredictorRequest(predictor="doubling")).predictor
    original = server.zoo.doubling
    assert (found.version, found.created_at.ToDatetime(original.created_at.tzinfo)) == ("2.1", original.created_at)
    assert MessageToDict(found.predict_schema) == server.zoo.NUMBERS
    assert MessageToDict(found.score_schema) == server.zoo.POINTS
    assert MessageToDict(found.test_predict_input) == [1, 2]
    assert MessageToDict(found.test_score_input) == [{"x": 1, "y": 2}]
    assert found.readiness.ready


def test_the_version_is_v1_by_default(server: Any) -> None:
    assert server.stub.GetPredictor(pb.GetPredictorRequest(predictor="free")).predictor.version == "v1"


def test_predict_by_name(server: Any) -> None:
    request = pb.PredictorServicePredictRequest(predictor="doubling", data=value([1, 2.5]))
    answer = server.stub.Predict(request)
    assert (answer.predictor, answer.version, MessageToDict(answer.data)) == ("doubling", "2.1", [2.0, 5.0])


@pytest.mark.parametrize("payload", [None, True, 1, -1.5, "text", "", [], {}, [1, "a", None, [True]], {"a": {"b": [1]}}], ids=repr)
def test_a_payload_is_any_json(server: Any, payload: Any) -> None:
    assert predict(server, "free", payload) == payload


def test_no_payload_at_all_is_null(server: Any) -> None:
    answer = server.stub.Predict(pb.PredictorServicePredictRequest(predictor="free"))
    assert MessageToDict(answer.data) is None


def test_integers_of_any_size_travel_as_text(server: Any) -> None:
    request = pb.PredictorServicePredictRequest(predictor="free", data_json=json.dumps([2**70, 1]))
    assert json.loads(server.stub.Predict(request).data_json) == [2**70, 1]


@pytest.mark.parametrize("word", ["large", "deep"])
def test_answers_that_a_value_cannot_hold_are_text(server: Any, word: str) -> None:
    answer = server.stub.Predict(pb.PredictorServicePredictRequest(predictor="free", data=value(word)))
    assert not answer.HasField("data")
    assert json.loads(answer.data_json) in (2**70, server.zoo.deep(100))


@pytest.mark.parametrize("text", ["{", "NaN", "[" * 10_000, '{"a": 1e400}'])
def test_text_that_is_no_json_is_refused(server: Any, text: str) -> None:
    code, reason, fields, _ = refused(
        lambda: server.stub.Predict(pb.PredictorServicePredictRequest(predictor="free", data_json=text))
    )
    assert (code, reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert fields[0].startswith("data")


def test_what_the_schema_refuses_is_named_by_its_path(server: Any) -> None:
    code, reason, fields, message = refused(lambda: predict(server, "strict", {"items": [{"x": 1}, {"x": "a"}, {"x": 0.5}]}))
    assert (code, reason) == ("INVALID_ARGUMENT", "INVALID_PAYLOAD")
    assert fields == ["data.items[1].x", "data.items[2].x"]
    assert message == "data.items[1].x: 'a' is not of type 'integer' (and 1 more)"


def test_what_the_schema_of_scores_refuses_is_named_by_its_path(server: Any) -> None:
    request = pb.PredictorServiceScoreRequest(predictor="doubling", data=value([{"x": 1}]))
    code, reason, fields, _ = refused(lambda: server.stub.Score(request))
    assert (code, reason, fields) == ("INVALID_ARGUMENT", "INVALID_PAYLOAD", ["data[0].y"])


def test_score_gives_the_kpis_of_given_data(server: Any) -> None:
    request = pb.PredictorServiceScoreRequest(predictor="doubling", data=value([{"x": 1, "y": 1}, {"x": 2, "y": 1}]))
    answer = server.stub.Score(request)
    assert (dict(answer.scores), answer.single, answer.version) == ({"bias": 2.0, "largest": 3.0}, False, "2.1")


def test_one_score_without_a_name_is_called_score(server: Any) -> None:
    answer = server.stub.Score(pb.PredictorServiceScoreRequest(predictor="free"))
    assert (dict(answer.scores), answer.single) == ({"score": 0.5}, True)


def test_a_name_that_is_not_served_has_a_reason_of_its_own(server: Any) -> None:
    known = "doubling, free, strict, fragile, slow"
    for call in (
        lambda: predict(server, "nobody", 1),
        lambda: server.stub.Score(pb.PredictorServiceScoreRequest(predictor="nobody")),
        lambda: server.stub.GetPredictor(pb.GetPredictorRequest(predictor="nobody")),
        lambda: server.stub.PredictBatch(pb.PredictBatchRequest(predictor="nobody")),
        lambda: server.stub.CheckReadiness(pb.CheckReadinessRequest(predictor="nobody")),
    ):
        code, reason, _, message = refused(call)
        assert (code, reason) == ("NOT_FOUND", "PREDICTOR_NOT_FOUND")
        assert message == f"there is no predictor `nobody`; this server has: {known}"


@pytest.mark.parametrize(
    ("word", "reason", "told"),
    [
        ("fail", "RUNNER_FAILED", "the predictor `free` raised RuntimeError: it is broken"),
        ("leave", "RUNNER_FAILED", "the predictor `free` raised SystemExit: 3"),
        ("nan", "INVALID_PREDICTION", "the predictor `free`: the result is nan, which JSON does not know"),
    ],
)
def test_what_a_model_does_wrong_is_told_and_harms_nobody(server: Any, word: str, reason: str, told: str) -> None:
    assert refused(lambda: predict(server, "free", word)) == ("INTERNAL", reason, [], told)
    assert predict(server, "free", "afterwards") == "afterwards"


def test_one_bad_item_of_a_batch_does_not_sink_the_others(server: Any) -> None:
    items = [value(one) for one in ({"items": [{"x": 1}]}, {"items": [{"x": "a"}]}, 5, {"items": []})]
    answer = server.stub.PredictBatch(pb.PredictBatchRequest(predictor="strict", items=items))
    kinds = [one.WhichOneof("outcome") for one in answer.outcomes]
    assert kinds == ["data", "failure", "failure", "data"]
    assert MessageToDict(answer.outcomes[3].data) == {"items": []}
    failure = answer.outcomes[1].failure
    assert failure.reason == error_pb2.ERROR_REASON_INVALID_PAYLOAD
    assert list(failure.fields) == ["data.items[0].x"]


def test_the_items_of_a_batch_are_predicted_in_parallel(server: Any) -> None:
    """The second begins while the first is held up."""
    server.zoo.let_go.clear()
    request = pb.PredictBatchRequest(predictor="free", items=[value("wait"), value("wait")])
    call = server.stub.PredictBatch.future(request, timeout=60)
    try:
        assert server.zoo.began.acquire(timeout=30)
        assert server.zoo.began.acquire(timeout=30)
    finally:
        server.zoo.let_go.set()
    assert [MessageToDict(one.data) for one in call.result().outcomes] == ["wait", "wait"]


def test_a_batch_has_a_largest_size(server: Any) -> None:
    request = pb.PredictBatchRequest(predictor="free", items=[value(1)] * 1001)
    code, reason, fields, _ = refused(lambda: server.stub.PredictBatch(request))
    assert (code, reason, fields) == ("INVALID_ARGUMENT", "INVALID_FIELD", ["items"])


def test_a_call_ends_at_its_deadline_while_the_model_goes_on(server: Any) -> None:
    server.zoo.let_go.clear()
    try:
        with pytest.raises(grpc.RpcError) as caught:
            predict(server, "free", "wait", timeout=0.3)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert predict(server, "doubling", [1]) == [2]
    finally:
        server.zoo.let_go.set()
    assert server.zoo.began.acquire(timeout=30)


def test_too_many_calls_at_once_are_refused(new_server: Any) -> None:
    with new_server("free", max_waiting_predictions=1) as server:
        server.zoo.let_go.clear()
        request = pb.PredictorServicePredictRequest(predictor="free", data=value("wait"))
        first = server.stub.Predict.future(request, timeout=60)
        try:
            assert server.zoo.began.acquire(timeout=30)
            code, reason, _, _ = refused(lambda: predict(server, "free", 1))
            assert (code, reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
        finally:
            server.zoo.let_go.set()
        assert MessageToDict(first.result().data) == "wait"


def test_a_payload_above_the_size_of_messages_is_refused(new_server: Any) -> None:
    with new_server("free", max_message_bytes="64KiB", max_http_body_bytes="64KiB") as server:
        with pytest.raises(grpc.RpcError) as caught:
            predict(server, "free", "x" * (2 << 20))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        body = {"predictor": "free", "payload": "x" * (2 << 20)}
        assert server.ask("POST", "/predict/", body)[0] == 413
