"""One prediction, and many, as clients of the short paths ask for them."""

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

FEATURES = {"b": 2, "a": 3}


def predicted(server: Any, port: int, body: Any) -> Any:
    status, answer = server.ask("POST", "/predict", body, port)
    assert status == 200, answer
    return answer


def test_the_response_has_prediction_confidence_version_processing_time_timestamp_and_metadata(server: Any, port: int) -> None:
    server.deploy("kinds", "kinds")
    metadata = {"session": "s-1", "nested": {"list": [1, None]}}
    before = datetime.now(UTC)
    answer = predicted(server, port, {"model_id": "kinds", "version": "1", "features": FEATURES, "metadata": metadata})
    assert (answer["prediction"], answer["model_version"], answer["model_id"]) == ("good", "1", "kinds")
    assert answer["confidence"] == pytest.approx(0.7310586)
    assert 0 < answer["processing_time_ms"] < 30_000
    assert before <= datetime.fromisoformat(answer["timestamp"]) <= datetime.now(UTC)
    assert answer["metadata"] == metadata


def test_the_request_may_leave_out_version_and_metadata(server: Any, port: int) -> None:
    server.deploy("kinds", "kinds")
    answer = predicted(server, port, {"model_id": "kinds", "features": FEATURES})
    assert (answer["model_version"], answer["metadata"]) == ("1", None)


def test_several_versions_are_active_and_aliases_too(server: Any, port: int) -> None:
    server.deploy("line", "order")
    second = server.deploy("line", "kinds")
    for version, prediction in ((1, 32.0), ("1", 32.0), ("2", "good"), (None, "good"), ("production", "good")):
        assert predicted(server, port, {"model_id": "line", "version": version, "features": FEATURES})["prediction"] == prediction
    by_id = predicted(server, port, {"model_id": second, "features": FEATURES})
    assert (by_id["prediction"], by_id["model_version"]) == ("good", second)


@pytest.mark.parametrize("version", ["2", 2, "staging", "1.0.0"])
def test_a_version_that_is_not_active_is_not_found(server: Any, port: int, version: Any) -> None:
    server.deploy("kinds", "kinds")
    status, problem = server.ask("POST", "/predict", {"model_id": "kinds", "version": version, "features": FEATURES}, port)
    assert (status, problem["status"]) == (404, 404)
    assert str(version) in problem["detail"]


def test_features_are_taken_in_the_models_order(server: Any, port: int) -> None:
    server.deploy("line", "order")
    for features in ({"a": 3, "b": 2}, {"b": 2, "a": 3}, {"unknown": "x", "b": 2, "a": 3}):
        assert predicted(server, port, {"model_id": "line", "features": features})["prediction"] == 32.0


@pytest.mark.parametrize(("runner", "known"), [("order", {}), ("undeclared", {"features": ["a", "b"]})])
def test_a_missing_feature_is_named(server: Any, port: int, runner: str, known: Any) -> None:
    server.deploy("line", runner, **known)
    status, problem = server.ask("POST", "/predict", {"model_id": "line", "features": {"a": 3}}, port)
    assert status == 422
    (entry,) = problem["errors"]
    assert (entry["msg"], entry["type"], entry["loc"]) == ("Missing required feature: b", "missing", ["body", "features", "b"])


def test_a_feature_of_another_type_is_named_with_its_value(server: Any, port: int) -> None:
    server.deploy("line", "order")
    status, problem = server.ask("POST", "/predict", {"model_id": "line", "features": {"a": "much", "b": 1}}, port)
    assert (status, problem["errors"][0]["loc"], problem["errors"][0]["input"]) == (422, ["body", "features", "a"], "much")


def test_a_transformation_hook_scales_a_feature(server: Any, port: int) -> None:
    server.deploy("scaled", "scaled")
    answer = predicted(server, port, {"model_id": "scaled", "features": {"a": 20.0, "b": 1.0}})
    assert answer["prediction"] == 10 * 2.0 + 1.0


def test_confidence_is_the_highest_class_probability(server: Any, port: int) -> None:
    server.deploy("kinds", "kinds")
    answer = predicted(server, port, {"model_id": "kinds", "features": {"a": 1, "b": 3}})
    assert (answer["prediction"], answer["confidence"]) == ("bad", pytest.approx(0.880797))
    server.deploy("odds", "odds")
    answer = predicted(server, port, {"model_id": "odds", "features": FEATURES})
    assert (answer["prediction"], answer["confidence"]) == ({"good": 0.75, "bad": 0.25}, 0.75)


def test_confidence_is_null_without_class_probabilities(server: Any, port: int) -> None:
    server.deploy("line", "order")
    assert predicted(server, port, {"model_id": "line", "features": FEATURES})["confidence"] is None


def test_latency_of_success_and_error_is_measured(server: Any) -> None:
    def counted(code: str) -> float:
        text = server.ask("GET", "/metrics")[1].decode()
        name = f'modelwire_calls_handled_total{{code="{code}",method="Predict",service="modelwire.v1.PredictService"}}'
        seconds = 'modelwire_call_seconds_count{method="Predict",service="modelwire.v1.PredictService"}'
        found = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}
        assert seconds in found or not found.get(name)
        return found.get(name, 0.0)

    server.deploy("kinds", "kinds")
    before = counted("OK"), counted("INTERNAL")
    predicted(server, server.http_port, {"model_id": "kinds", "features": FEATURES})
    assert server.ask("POST", "/predict", {"model_id": "kinds", "features": {"a": -1, "b": 0}})[0] == 500
    assert (counted("OK"), counted("INTERNAL")) == (before[0] + 1, before[1] + 1)


def test_health_answers_during_a_slow_prediction(server: Any, port: int) -> None:
    server.deploy("waiting", "waiting")
    answers: list[Any] = []
    slow = threading.Thread(
        target=lambda: answers.append(server.ask("POST", "/predict", {"model_id": "waiting", "features": {"a": 2, "b": 0}}, port))
    )
    slow.start()
    try:
        assert server.models_module.began.acquire(timeout=30)
        assert server.ask("GET", "/health", port=port)[0] == 200
        assert not answers
    finally:
        server.models_module.let_go.set()
        slow.join()
        server.models_module.let_go.clear()
    assert answers[0][1]["prediction"] == 2


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"model_id": "kinds", "features": {}}, ["body", "features"]),
        ({"model_id": "kinds"}, ["body", "features"]),
        ({"model_id": "kinds", "features": [1]}, ["body", "features"]),
        ({"model_id": 7, "features": FEATURES}, ["body", "model_id"]),
        ({"model_id": "kinds", "version": 1.5, "features": FEATURES}, ["body", "version"]),
        ({"model_id": "no name", "features": FEATURES}, ["body", "model_id"]),
        ([FEATURES], ["body"]),
        (b"{", ["body"]),
    ],
    ids=["empty features", "no features", "a list", "a number", "a fraction", "no name", "no object", "no json"],
)
def test_empty_features_and_other_mistakes_are_refused_with_422(server: Any, port: int, body: Any, place: list[str]) -> None:
    server.deploy("kinds", "kinds")
    status, problem = server.ask("POST", "/predict", body, port)
    assert (status, problem["errors"][0]["loc"][: len(place)]) == (422, place)


def test_a_failure_is_an_http_error_with_the_text_and_404_422_and_500_are_apart(server: Any, port: int) -> None:
    server.deploy("kinds", "kinds")
    status, problem = server.ask("POST", "/predict", {"model_id": "nobody", "features": FEATURES}, port)
    assert (status, problem["reason"], problem["detail"]) == (404, "MODEL_NOT_FOUND", "there is no model nobody")
    assert server.ask("POST", "/predict", {"model_id": "kinds", "features": {"a": 1}}, port)[0] == 422
    status, problem = server.ask("POST", "/predict", {"model_id": "kinds", "features": {"a": -1, "b": 1}}, port)
    assert (status, problem["detail"]) == (500, "the runner raised ValueError: a must not be negative")


def test_predict_without_a_name_uses_the_loaded_model_and_before_any_is_a_clear_503(server: Any, port: int) -> None:
    status, problem = server.ask("POST", "/predict", {"features": FEATURES}, port)
    assert (status, problem["detail"].startswith("no model is deployed yet")) == (503, True)
    server.deploy("line", "order")
    answer = predicted(server, port, {"features": FEATURES})
    assert (answer["prediction"], answer["model_id"]) == (32.0, "line")
    server.deploy("kinds", "kinds")
    status, problem = server.ask("POST", "/predict", {"features": FEATURES}, port)
    assert (status, problem["errors"][0]["loc"]) == (422, ["body", "model_id"])
    assert "there are 2 models: line, kinds" in problem["errors"][0]["msg"]


def test_a_batch_has_predictions_batch_size_and_total_time(server: Any, port: int) -> None:
    server.deploy("kinds", "kinds")
    server.deploy("line", "order")
    items = [{"model_id": "kinds", "features": FEATURES}, {"model_id": "line", "version": 1, "features": FEATURES}]
    status, answer = server.ask("POST", "/predict/batch", items, port)
    assert (status, answer["batch_size"]) == (200, 2)
    assert [one["prediction"] for one in answer["predictions"]] == ["good", 32.0]
    assert [one["model_version"] for one in answer["predictions"]] == ["1", "1"]
    assert answer["total_processing_time_ms"] >= max(one["processing_time_ms"] for one in answer["predictions"])


def test_four_slow_items_of_a_batch_take_the_time_of_one(server: Any, port: int) -> None:
    """Each waits until all four are under way."""
    server.deploy("waiting", "waiting")
    items = [{"model_id": "waiting", "features": {"a": 1, "b": number}} for number in range(4)]
    status, answer = server.ask("POST", "/predict/batch", items, port)
    assert (status, [one["prediction"] for one in answer["predictions"]]) == (200, [1, 1, 1, 1])


def test_one_bad_item_does_not_sink_the_batch(server: Any, port: int) -> None:
    server.deploy("kinds", "kinds")
    good = {"model_id": "kinds", "features": FEATURES}
    bad = [{**good, "model_id": "nobody"}, {**good, "features": {}}, {**good, "features": {"a": -1, "b": 1}}, "nothing"]
    status, answer = server.ask("POST", "/predict/batch", [good, *bad, good], port)
    assert (status, answer["batch_size"]) == (200, 6)
    first, *failed, last = answer["predictions"]
    assert (first["prediction"], first["error"], last["prediction"]) == ("good", None, "good")
    assert [one["error"]["status"] for one in failed] == [404, 422, 500, 422]
    assert failed[1]["error"]["errors"][0]["loc"] == ["body", 2, "features"]
    assert {one["prediction"] for one in failed} == {None}


@pytest.mark.parametrize(("body", "status"), [([], 200), ({}, 422), ([1] * 1001, 422)])
def test_a_batch_is_a_list_of_at_most_a_thousand(server: Any, port: int, body: Any, status: int) -> None:
    assert server.ask("POST", "/predict/batch", body, port)[0] == status


def test_a_feature_store_is_a_hook_of_a_predictor(server: Any) -> None:
    body = {"predictor": "customers", "payload": {"customers": [7, 8]}}
    assert server.ask("POST", "/predict/", body) == (200, [3.0, 7.0])
