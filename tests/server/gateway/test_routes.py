"""Every path of the REST contract and the bodies it has."""

import json
import re
from typing import Any

import pytest

ULID = r"[0-7][0-9A-HJKMNP-TV-Z]{25}"
SECONDS = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
MICROSECONDS = SECONDS + r"\.\d{6}Z"
UNKNOWN = "01ARZ3NDEKTSV4RRFFQ69G5FAA"
DEFAULTS = {"prediction_periods": 3, "additional_continuous_covariates": [], "factor": 2, "wait_for": "", "fail": False}
FRAME = {"columns": ["x"], "data": [[1], [2]]}


def fits(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text) is not None


def test_health_and_metrics(rest: Any) -> None:
    health = rest.get("/health")
    assert (health.status, health.json["status"]) == (200, "healthy")
    assert rest.get("/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")


def test_health_again_and_again(rest: Any) -> None:
    with rest.stream("/health/$stream?poll_interval=0.01") as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        lines = [answer.readline() for _ in range(4)]
    assert lines[0] == lines[2]
    assert lines[0].startswith(b'data: {"status":"healthy"')
    assert rest.get("/health/$stream?poll_interval=61").status == 422


def test_info_has_the_fields_that_all_clients_know_in_their_order(rest: Any) -> None:
    info = rest.get("/api/v1/info").json
    assert list(info) == [
        "id",
        "display_name",
        "version",
        "description",
        "model_metadata",
        "period_type",
        "min_prediction_periods",
        "max_prediction_periods",
        "allow_free_additional_continuous_covariates",
        "required_covariates",
        "requires_geo",
    ]
    assert (info["id"], info["period_type"], info["description"], info["required_covariates"]) == ("patient", "any", None, ["x"])
    assert set(info["model_metadata"].values()) == {None}
    assert list(info["model_metadata"])[:3] == ["author", "author_note", "author_assessed_status"]


def test_system(rest: Any) -> None:
    system = rest.get("/api/v1/system").json
    assert list(system) == ["current_time", "timezone", "python_version", "platform", "hostname"]
    assert rest.get("/api/v1/system/apps").json == []
    assert rest.get("/api/v1/system/apps/$schema").json["type"] == "array"


def test_the_life_of_a_config(rest: Any) -> None:
    made = rest.post("/api/v1/configs", {"name": "p1", "data": {"extra": 1, "prediction_periods": 4}, "tags": ["a"]})
    assert made.status == 201
    config = made.json
    assert list(config) == ["id", "created_at", "updated_at", "tags", "name", "data"]
    assert fits(ULID, config["id"])
    assert fits(SECONDS, config["created_at"])
    assert config["data"] == {**DEFAULTS, "extra": 1, "prediction_periods": 4}
    path = f"/api/v1/configs/{config['id']}"
    assert made.headers["location"] == f"http://127.0.0.1:{rest.port}{path}"
    assert rest.get(path).json == config
    assert rest.get(path.replace(config["id"], config["id"].lower())).json == config
    changed = rest.ask("PUT", path, {"name": "p2", "data": {}, "id": UNKNOWN})
    assert (changed.status, changed.json["name"], changed.json["data"], changed.json["tags"]) == (200, "p2", DEFAULTS, ["a"])
    gone = rest.ask("DELETE", path)
    assert (gone.status, gone.body) == (204, b"")
    assert rest.ask("DELETE", path).status == 404


def test_what_was_sent_in_a_config_comes_back(rest: Any) -> None:
    data = {"opt": None, "a": {"b": [1, 2.5, "x", None, []], "c": {}}, "whole": 2.0, "long": 2**53, "text": "001", "fail": True}
    config = rest.post("/api/v1/configs", {"name": "echo", "data": data}).json
    assert config["data"] == {**DEFAULTS, **data}
    lifted = rest.post(
        "/api/v1/configs", {"name": "echo", "data": {"user_option_values": {"factor": 7, "fail": False}, "fail": True}}
    ).json
    assert lifted["data"] == {**DEFAULTS, "factor": 7, "fail": True}


def test_config_schema_and_stats(rest: Any) -> None:
    for path in ("/api/v1/configs/$schema", "/api/v1/configs/%24schema"):
        schema = rest.get(path).json
        assert schema["properties"]["factor"] == {"default": 2, "title": "Factor", "type": "integer"}
        assert schema["additionalProperties"] is True
    assert rest.get("/api/v1/configs/$stats").json == {"total": len(rest.get("/api/v1/configs").json)}


def test_lists_and_pages(rest: Any) -> None:
    made = [rest.config(factor=number) for number in range(3)]
    everything = rest.get("/api/v1/configs").json
    assert [config["id"] for config in everything][-3:] == made
    assert rest.get("/api/v1/configs?page=2").json == everything
    assert rest.get("/api/v1/configs?size=2").json == everything
    last = rest.get(f"/api/v1/configs?page={len(everything)}&size=1").json
    assert last == {
        "items": everything[-1:],
        "total": len(everything),
        "page": len(everything),
        "size": 1,
        "pages": len(everything),
    }
    beyond = rest.get("/api/v1/configs?page=2147483647&size=100").json
    assert (beyond["items"], beyond["total"]) == ([], len(everything))


def test_pages_by_token(rest: Any) -> None:
    for _ in range(3):
        rest.config()
    everything, found, token = rest.get("/api/v1/configs").json, [], ""
    while True:
        page = rest.get(f"/api/v1/configs?page_size=2&page_token={token}")
        found += page.json
        token = page.headers.get("x-next-page-token", "")
        if not token:
            break
    assert found == everything


@pytest.mark.parametrize(
    ("query", "kind", "place"),
    [
        ("page=0&size=2", "greater_than_equal", "page"),
        ("page=1&size=101", "less_than_equal", "size"),
        ("page=x&size=2", "int_parsing", "page"),
    ],
)
def test_pages_that_cannot_be(rest: Any, query: str, kind: str, place: str) -> None:
    answer = rest.get(f"/api/v1/configs?{query}")
    assert answer.status == 422
    assert [(error["type"], error["loc"]) for error in answer.json["errors"]] == [(kind, ["query", place])]


def test_training_and_its_job(rest: Any) -> None:
    config_id = rest.config()
    answer = rest.post("/api/v1/ml/$train", {"config_id": config_id.lower(), "data": FRAME, "run_info": {"prediction_length": 2}})
    assert answer.status == 202
    submitted = answer.json
    assert list(submitted) == ["job_id", "artifact_id", "message"]
    assert submitted["message"] == f"Training job submitted. Job ID: {submitted['job_id']}"
    ended = rest.ended(submitted["job_id"])
    job = rest.get(f"/api/v1/jobs/{submitted['job_id']}").json
    assert job == ended
    assert list(job) == [
        "id",
        "status",
        "submitted_at",
        "started_at",
        "finished_at",
        "error",
        "error_traceback",
        "artifact_id",
    ]
    assert (job["status"], job["error"], job["artifact_id"]) == ("completed", None, submitted["artifact_id"])
    assert all(fits(MICROSECONDS, job[name]) for name in ("submitted_at", "started_at", "finished_at"))
    assert rest.get("/api/v1/jobs").json[0] == job
    assert job in rest.get("/api/v1/jobs?status_filter=completed").json
    assert job not in rest.get("/api/v1/jobs?status_filter=failed").json
    assert rest.get(f"/api/v1/artifacts/{job['artifact_id']}/$config").json["id"] == config_id
    gone = rest.ask("DELETE", f"/api/v1/jobs/{job['id']}")
    assert (gone.status, rest.get(f"/api/v1/jobs/{job['id']}").status) == (204, 404)


def test_what_is_wrong_with_a_training_is_told_by_its_job(rest: Any) -> None:
    answer = rest.post("/api/v1/ml/$train", {"config_id": UNKNOWN, "data": FRAME})
    assert answer.status == 202
    job = rest.ended(answer.json["job_id"])
    assert (job["status"], job["error"]) == ("failed", f"ValueError: Config {UNKNOWN} not found")
    assert rest.get(f"/api/v1/artifacts/{answer.json['artifact_id']}").status == 404


def test_failed_training(rest: Any) -> None:
    job = rest.ended(rest.train(fail=True)["job_id"])
    assert (job["status"], job["error"]) == ("failed", "ValueError: told to fail")
    assert job["error_traceback"].startswith("Traceback")


def test_a_model_and_its_prediction(rest: Any) -> None:
    model = rest.model()
    answer = rest.post("/api/v1/ml/$predict", {"artifact_id": model, "historic": {"columns": ["x"], "data": []}, "future": FRAME})
    assert answer.status == 202
    prediction = answer.json["artifact_id"]
    assert rest.ended(answer.json["job_id"])["status"] == "completed"
    artifact = rest.get(f"/api/v1/artifacts/{prediction}").json
    assert list(artifact) == ["id", "created_at", "updated_at", "tags", "data", "parent_id", "level"]
    assert list(artifact["data"]) == ["type", "metadata", "content", "content_type", "content_size"]
    assert (artifact["data"]["type"], artifact["parent_id"], artifact["level"]) == ("ml_prediction", model, 1)
    content = artifact["data"]["content"]
    assert (content["columns"], content["data"]) == (["x", "sample_0"], [[1, 2], [2, 4]])
    assert content["schema"]["fields"][0] == {"name": "x", "type": "integer"}
    download = rest.get(f"/api/v1/artifacts/{prediction}/$download")
    assert download.json == [{"x": 1, "sample_0": 2}, {"x": 2, "sample_0": 4}]
    assert download.headers["content-disposition"] == f"attachment; filename=artifact_{prediction}.json"
    assert download.headers["content-type"] == "application/vnd.chapkit.dataframe+json"
    as_csv = rest.get(f"/api/v1/artifacts/{prediction}/$download", accept="text/csv")
    assert as_csv.body == b"x,sample_0\r\n1,2\r\n2,4\r\n"


def test_trees_and_labels(rest: Any) -> None:
    model = rest.model()
    submitted = rest.post("/api/v1/ml/$predict", {"artifact_id": model, "historic": FRAME, "future": FRAME}).json
    rest.ended(submitted["job_id"])
    tree = rest.get(f"/api/v1/artifacts/{model}/$tree").json
    assert list(tree)[-3:] == ["level_label", "hierarchy", "children"]
    assert (tree["id"], tree["level"], tree["data"]["type"]) == (model, 0, "ml_training_workspace")
    (child,) = tree["children"]
    assert (child["id"], child["level"], child["level_label"], child["children"]) == (
        submitted["artifact_id"],
        1,
        "ml_prediction",
        [],
    )
    assert "content" not in child["data"]
    expanded = rest.get(f"/api/v1/artifacts/{model}/$expand").json
    assert expanded == {**tree, "children": None}
    assert rest.get(f"/api/v1/artifacts/{model}/$metadata").json == tree["data"]["metadata"]


def test_content_that_json_cannot_hold_is_described(rest: Any) -> None:
    upload = rest.ask("POST", "/api/v1/artifacts/$upload?type=note", b"\0" * 500, {"Content-Type": "application/x-pickle"}).json
    content = rest.get(f"/api/v1/artifacts/{upload['id']}").json["data"]["content"]
    assert (content["_type"], content["_module"]) == ("bytes", "builtins")
    assert content["_repr"].startswith("b'")
    assert len(content["_repr"]) <= 203
    download = rest.get(f"/api/v1/artifacts/{upload['id']}/$download")
    assert download.headers["content-disposition"] == f"attachment; filename=artifact_{upload['id']}.bin"
    assert int(download.headers["content-length"]) == len(download.body) == 500


def test_artifacts_of_a_config(rest: Any) -> None:
    model = rest.model()
    config_id = rest.get(f"/api/v1/artifacts/{model}/$config").json["id"]
    (artifact,) = rest.get(f"/api/v1/configs/{config_id}/$artifacts").json
    assert artifact == rest.get(f"/api/v1/artifacts/{model}").json
    assert rest.get(f"/api/v1/configs/{UNKNOWN}/$artifacts").json == []
    unlinked = rest.post(f"/api/v1/configs/{config_id}/$unlink-artifact", {"artifact_id": model})
    assert (unlinked.status, unlinked.body) == (204, b"")
    assert rest.post(f"/api/v1/configs/{config_id}/$unlink-artifact", {"artifact_id": model}).status == 404
    assert rest.get(f"/api/v1/artifacts/{model}/$config").json["detail"] == f"No config linked to artifact {model}"
    assert rest.post(f"/api/v1/configs/{config_id}/$link-artifact", {"artifact_id": model}).status == 204
    assert rest.ask("DELETE", f"/api/v1/configs/{config_id}").status == 204
    assert rest.get(f"/api/v1/artifacts/{model}").status == 404


@pytest.mark.parametrize("data", [{"foo": 1, "content": 2}, [1, 2], "text", 5, None, True, {}])
def test_artifacts_with_any_data(rest: Any, data: Any) -> None:
    made = rest.post("/api/v1/artifacts", {"data": data, "tags": ["t"], "level": 7})
    assert made.status == 201
    assert (made.json["data"], made.json["level"], made.json["parent_id"], made.json["tags"]) == (data, 0, None, ["t"])
    assert rest.get(f"/api/v1/artifacts/{made.json['id']}").json == made.json
    (listed,) = [one for one in rest.get("/api/v1/artifacts").json if one["id"] == made.json["id"]]
    without = {name: value for name, value in data.items() if name != "content"} if isinstance(data, dict) else data
    assert listed["data"] == without


def test_artifacts_with_typed_data(rest: Any) -> None:
    data = {
        "type": "generic",
        "metadata": {"a": 1},
        "content": {"x": [1]},
        "content_type": "application/json",
        "content_size": None,
    }
    made = rest.post("/api/v1/artifacts", {"data": data}).json
    assert made["data"] == {**data, "content_size": 10}
    assert rest.get(f"/api/v1/artifacts/{made['id']}/$download").json == {"x": [1]}
    below = rest.post("/api/v1/artifacts", {"data": data, "parent_id": made["id"]}).json
    assert (below["parent_id"], below["level"]) == (made["id"], 1)
    moved = rest.ask("PUT", f"/api/v1/artifacts/{below['id']}", {"data": {**data, "metadata": {"b": 2}}})
    assert (moved.status, moved.json["data"]["metadata"], moved.json["parent_id"]) == (200, {"b": 2}, made["id"])
    assert rest.ask("DELETE", f"/api/v1/artifacts/{made['id']}").status == 204
    orphan = rest.get(f"/api/v1/artifacts/{below['id']}").json
    assert (orphan["parent_id"], orphan["level"]) == (None, 1)


def test_artifact_stats(rest: Any) -> None:
    assert rest.get("/api/v1/artifacts/$stats").json == {"total": len(rest.get("/api/v1/artifacts").json)}


def test_uploads_are_the_body(rest: Any) -> None:
    content = b"\0\1" * 1_500_000
    made = rest.post(
        "/api/v1/artifacts/$upload?type=photo&tags=a&tags=b&metadata=%7B%22c%22:1%7D", content, content_type="image/png"
    )
    assert made.status == 201, made.body
    assert (made.json["tags"], made.json["data"]["type"], made.json["data"]["metadata"]) == (["a", "b"], "photo", {"c": 1})
    assert made.headers["location"].endswith(f"/api/v1/artifacts/{made.json['id']}")
    download = rest.get(f"/api/v1/artifacts/{made.json['id']}/$download")
    assert (download.body, download.headers["content-type"]) == (content, "image/png")
    assert download.headers["content-disposition"].endswith(".png")
    rest_of_it = rest.get(f"/api/v1/artifacts/{made.json['id']}/$download?offset=2999990")
    assert rest_of_it.body == content[2999990:]


def test_validation(rest: Any) -> None:
    config_id, empty = rest.config(), {"columns": ["x"], "data": []}
    fine = rest.post("/api/v1/ml/$validate", {"type": "train", "config_id": config_id, "data": FRAME})
    assert (fine.status, fine.json) == (200, {"valid": True, "diagnostics": []})
    found = rest.post("/api/v1/ml/$validate", {"type": "train", "config_id": config_id, "data": empty}).json
    assert found["valid"] is False
    (diagnostic,) = found["diagnostics"]
    assert list(diagnostic) == ["severity", "code", "message", "field"]
    assert (diagnostic["severity"], diagnostic["code"], diagnostic["field"]) == ("error", "data_empty", "data")


def test_sample_data(rest: Any) -> None:
    sample = rest.get("/api/v1/ml/$generate-sample-data?num_locations=2&num_periods=4&num_features=1&seed=1")
    assert list(sample.json) == ["data"]
    assert sample.json["data"]["columns"][:3] == ["time_period", "location", "disease_cases"]
    assert len(sample.json["data"]["data"]) == 8
    assert sample.body == rest.get("/api/v1/ml/$generate-sample-data?num_locations=2&num_periods=4&num_features=1&seed=1").body
    both = rest.get("/api/v1/ml/$generate-sample-data?kind=predict&include_geo=true&geo_type=point").json
    assert list(both) == ["historic", "future", "geo"]
    assert both["geo"]["features"][0]["geometry"]["type"] == "Point"


def test_predictions_at_once(rest: Any) -> None:
    model = rest.model(factor=3)
    answer = rest.post("/api/v1/ml/$predict-now", {"model": model, "future": {"columns": ["x"], "data": [[5]]}}).json
    assert answer["model_id"] == model
    assert answer["predictions"]["data"] == [[5, 15]]


def test_runners(rest: Any) -> None:
    (info,) = rest.get("/api/v1/runners").json
    assert info == rest.get("/api/v1/info").json
    runner = rest.get("/api/v1/runners/patient").json
    assert runner["info"] == info
    assert runner["hierarchy"]["level_labels"]["1"] == "ml_prediction"
    assert rest.get("/api/v1/runners/nobody").status == 404


def test_every_answer_has_a_new_id(rest: Any) -> None:
    paths = ["/health", "/api/v1/info", "/nothing", "/api/v1/configs/xyz"]
    ids = [rest.get(path, x_request_id="mine").headers["x-request-id"] for path in paths]
    assert all(fits(ULID, one) for one in ids)
    assert len(set(ids)) == len(paths)


@pytest.mark.parametrize("path", ["/api/v1/configs", "/health", "/api/v1/info"])
def test_head_is_get_without_a_body(rest: Any, path: str) -> None:
    head = rest.ask("HEAD", path)
    assert (head.status, head.body) == (200, b"")


def test_a_slash_at_the_end_does_not_count(rest: Any) -> None:
    assert rest.get("/api/v1/configs/$schema/").json == rest.get("/api/v1/configs/$schema").json


@pytest.mark.parametrize("name", ["artifacts", "jobs"])
def test_the_members_of_documents_are_those_of_their_schemas(rest: Any, name: str) -> None:
    rest.model()
    schema = rest.get(f"/api/v1/{name}/$schema").json
    assert schema == rest.get(f"/api/v1/{name}/%24schema").json
    entity = schema["$defs"][schema["items"]["$ref"].rpartition("/")[2]] if name == "jobs" else schema
    for document in rest.get(f"/api/v1/{name}").json:
        assert set(entity["required"]) == set(document) == set(entity["properties"])
    references = set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema)))
    assert references <= set(schema["$defs"])


def test_the_size_of_a_download_is_known_before(rest: Any) -> None:
    model = rest.model()
    head = rest.ask("HEAD", f"/api/v1/artifacts/{model}/$download")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) == len(rest.get(f"/api/v1/artifacts/{model}/$download").body)
