"""Predictors over HTTP: below /api/v1, and at the short paths that clients of services like this know."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from modelwire_server.gateway.openapi.predictors import placed

ARGUMENTS = ["/version", "/creation_time", "/predict_schema", "/score_schema", "/health/ready"]


def test_list_names_the_models(server: Any, port: int) -> None:
    assert server.ask("GET", "/list", port=port) == (200, ["doubling", "free", "strict", "fragile", "slow"])


def test_version_of_each_model_default_v1(server: Any, port: int) -> None:
    assert server.ask("GET", "/version/?model=doubling", port=port) == (200, "2.1")
    assert server.ask("GET", "/version/?model=free", port=port) == (200, "v1")


def test_creation_time(server: Any, port: int) -> None:
    moment = server.zoo.free.created_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert server.ask("GET", "/creation_time/?model=free", port=port) == (200, moment)


def test_predict_schema_and_score_schema_are_what_was_given(server: Any, port: int) -> None:
    assert server.ask("GET", "/predict_schema/?model=doubling", port=port) == (200, server.zoo.NUMBERS)
    assert server.ask("GET", "/score_schema/?model=doubling", port=port) == (200, server.zoo.POINTS)


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", ARGUMENTS)
def test_a_missing_argument_is_422(server: Any, port: int, path: str, slash: str) -> None:
    status, problem = server.ask("GET", path + slash, port=port)
    assert (status, problem["status"]) == (422, 422)
    assert problem["errors"] == [{"type": "missing", "loc": ["query", "model"], "msg": "Field required", "input": None}]


@pytest.mark.parametrize("path", ARGUMENTS)
def test_an_unknown_model_is_400(server: Any, port: int, path: str) -> None:
    status, problem = server.ask("GET", f"{path}/?model={quote('no such')}", port=port)
    assert (status, problem["status"], problem["reason"]) == (400, 400, "PREDICTOR_NOT_FOUND")
    assert problem["detail"].startswith("there is no predictor `no such`; this server has: doubling")


@pytest.mark.parametrize("path", ARGUMENTS)
def test_an_empty_name_is_400_too(server: Any, port: int, path: str) -> None:
    assert server.ask("GET", f"{path}/?model=", port=port)[0] == 400


@pytest.mark.parametrize("path", ["/predict/", "/score/"])
def test_an_unknown_model_in_a_body_is_400(server: Any, port: int, path: str) -> None:
    status, problem = server.ask("POST", path, {"predictor": "nobody", "payload": 1}, port=port)
    assert (status, problem["reason"]) == (400, "PREDICTOR_NOT_FOUND")


def test_predict_takes_a_name_and_a_json_payload_in_the_body(server: Any, port: int) -> None:
    assert server.ask("POST", "/predict/", {"predictor": "doubling", "payload": [1, 2.5]}, port=port) == (200, [2.0, 5.0])


@pytest.mark.parametrize("payload", [None, False, 0, 2**70, -1.5, "text", "", [], {}, [1, "a", None], {"a": {"b": [1]}}], ids=repr)
def test_payloads_are_scalars_objects_and_arrays(server: Any, port: int, payload: Any) -> None:
    assert server.ask("POST", "/predict/", {"predictor": "free", "payload": payload}, port=port) == (200, payload)
    status, answer = server.ask("POST", "/api/v1/predictors/free/$predict", {"data": payload}, port=port)
    assert (status, answer) == (200, {"predictor": "free", "version": "v1", "data": payload})


def test_score_answers_with_the_kpis_of_given_data(server: Any, port: int) -> None:
    points = [{"x": 1, "y": 1}, {"x": 2, "y": 1}]
    scores = {"bias": 2.0, "largest": 3.0}
    assert server.ask("POST", "/score/", {"predictor": "doubling", "payload": points}, port=port) == (200, scores)
    answer = server.ask("POST", "/api/v1/predictors/doubling/$score", {"data": points}, port=port)[1]
    assert answer == {"predictor": "doubling", "version": "2.1", "scores": scores, "single": False}


def test_one_score_without_a_name_is_a_number(server: Any, port: int) -> None:
    assert server.ask("POST", "/score/", {"predictor": "free", "payload": 1}, port=port) == (200, 0.5)


def test_every_request_is_held_against_the_schema_422_with_path(server: Any, port: int) -> None:
    wrong = {"items": [{"x": 1}, {"x": "a"}]}
    status, problem = server.ask("POST", "/predict/", {"predictor": "strict", "payload": wrong}, port=port)
    assert status == 422
    (entry,) = problem["errors"]
    assert entry["loc"] == ["body", "payload", "items", 1, "x"]
    assert (entry["type"], entry["msg"], entry["input"]) == ("type", "'a' is not of type 'integer'", "a")
    status, problem = server.ask("POST", "/api/v1/predictors/strict/$predict", {"data": wrong}, port=port)
    assert (status, problem["reason"]) == (422, "INVALID_PAYLOAD")
    assert problem["errors"] == [
        {"type": "type", "loc": ["body", "data", "items", 1, "x"], "msg": "'a' is not of type 'integer'", "input": "a"}
    ]


def test_scores_are_held_against_their_schema_422_with_path(server: Any, port: int) -> None:
    status, problem = server.ask("POST", "/score/", {"predictor": "doubling", "payload": [{"x": 1}]}, port=port)
    assert (status, [entry["loc"] for entry in problem["errors"]]) == (422, [["body", "payload", 0, "y"]])


@pytest.mark.parametrize("path", ["/predict/", "/score/"])
@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({}, [["body", "predictor"], ["body", "payload"]]),
        ({"payload": 1}, [["body", "predictor"]]),
        ({"predictor": "free"}, [["body", "payload"]]),
        ({"predictor": 1, "payload": 1}, [["body", "predictor"]]),
        ([1], [["body"]]),
        (b"{", [["body"]]),
    ],
    ids=["nothing", "no predictor", "no payload", "no name", "no object", "no json"],
)
def test_a_body_without_its_parts_is_422(server: Any, port: int, path: str, body: Any, places: list[Any]) -> None:
    status, problem = server.ask("POST", path, body, port=port)
    assert status == 422
    assert [entry["loc"] for entry in problem["errors"]] == places


@pytest.mark.parametrize("path", ["$predict", "$score"])
def test_a_missing_payload_is_422_and_null_is_one(server: Any, port: int, path: str) -> None:
    status, problem = server.ask("POST", f"/api/v1/predictors/free/{path}", {}, port=port)
    assert (status, problem["errors"][0]["loc"]) == (422, ["body", "data"])
    assert server.ask("POST", f"/api/v1/predictors/free/{path}", {"data": None}, port=port)[0] == 200


def test_a_model_that_raises_is_500_with_a_reason(server: Any, port: int) -> None:
    status, problem = server.ask("POST", "/predict/", {"predictor": "free", "payload": "fail"}, port=port)
    assert (status, problem["reason"]) == (500, "RUNNER_FAILED")
    assert problem["detail"] == "the predictor `free` raised RuntimeError: it is broken"


def test_the_catalogue_describes_predictors(server: Any, port: int) -> None:
    status, listed = server.ask("GET", "/api/v1/predictors", port=port)
    assert (status, [one["name"] for one in listed]) == (200, ["doubling", "free", "strict", "fragile", "slow"])
    status, one = server.ask("GET", "/api/v1/predictors/doubling", port=port)
    assert (status, one["test_predict_input"], one["readiness"]["ready"]) == (200, [1, 2], True)
    assert server.ask("GET", "/api/v1/predictors/nobody", port=port)[0] == 404


def test_batches_have_an_outcome_for_each_item(server: Any, port: int) -> None:
    body = {"items": [{"items": []}, {"items": [{"x": "a"}]}]}
    status, answer = server.ask("POST", "/api/v1/predictors/strict/$predict-batch", body, port=port)
    assert status == 200
    good, bad = answer["outcomes"]
    assert good == {"data": {"items": []}}
    assert (bad["failure"]["reason"], bad["failure"]["fields"]) == ("INVALID_PAYLOAD", ["data.items[0].x"])


def test_readiness_over_http(server: Any, port: int) -> None:
    status, answer = server.ask("GET", "/api/v1/predictors/$readiness?predictor=free", port=port)
    assert (status, answer["ready"], [one["predictor"] for one in answer["predictors"]]) == (200, True, ["free"])


def test_the_swagger_page_is_there(server: Any, port: int) -> None:
    status, page = server.ask("GET", "/docs", port=port)
    assert status == 200
    assert b"swagger-ui" in page


def test_the_schemas_of_the_predictors_are_in_the_openapi_document(server: Any, port: int) -> None:
    document = server.ask("GET", "/openapi.json", port=port)[1]
    components = document["components"]["schemas"]
    assert components["PredictInput.doubling"] == server.zoo.NUMBERS
    assert components["ScoreInput.doubling"] == server.zoo.POINTS
    for kind, names in (("Predict", "PredictInput"), ("Score", "ScoreInput")):
        data = components[f"PredictorService{kind}Request"]["properties"]["data"]
        assert f"#/components/schemas/{names}.doubling" in json.dumps(data)
    assert "/api/v1/predictors/{predictor}/$predict" in document["paths"]


def test_the_examples_of_the_openapi_document_work(server: Any, port: int) -> None:
    paths = server.ask("GET", "/openapi.json", port=port)[1]["paths"]
    ours = {(path, verb): one for path, item in paths.items() for verb, one in item.items() if one["tags"] == ["Predictor"]}
    assert len(ours) > 15
    for (path, verb), operation in ours.items():
        for parameter in operation.get("parameters", ()):
            given = str(parameter.get("example", ""))
            if parameter["in"] == "query":
                path += f"?{parameter['name']}={given}"
            path = path.replace("{" + parameter["name"] + "}", given)
        body = operation.get("requestBody", {"content": {}})["content"].get("application/json", {}).get("example")
        assert server.ask(verb.upper(), path, body, port=port)[0] == 200, (path, body)


def test_references_in_a_schema_lead_on_in_the_document() -> None:
    schema = {"$defs": {"A": {"type": "integer"}}, "items": {"$ref": "#/$defs/A"}, "not": {"$ref": "#"}, "properties": {"$ref": {}}}
    moved = placed(schema, "#/components/schemas/X")
    assert moved["items"] == {"$ref": "#/components/schemas/X/$defs/A"}
    assert moved["not"] == {"$ref": "#/components/schemas/X"}
    assert moved["properties"] == {"$ref": {}}
