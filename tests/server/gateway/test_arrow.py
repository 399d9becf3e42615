"""Frames as Arrow over HTTP, without JSON."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

ARROW = "application/vnd.apache.arrow.stream"
SMALL = pa.table({"x": [1, 2, 3], "note": ["a", None, "c"]})
# Above 1 MiB frames travel in chunks.
LARGE = pa.table({"x": range(400_000)})


def stream_of(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=65536)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def table_of(content: bytes) -> pa.Table:
    return pa.ipc.open_stream(content).read_all()


@pytest.mark.parametrize("table", [SMALL, LARGE], ids=["small", "large"])
def test_training(rest: Any, table: pa.Table) -> None:
    config_id = rest.config()
    answer = rest.post(
        f"/api/v1/ml/$train?config_id={config_id}&tags=a&tags=b&run_info.prediction_periods=2", stream_of(table), content_type=ARROW
    )
    assert answer.status == 202, answer.body
    assert rest.ended(answer.json["job_id"])["status"] == "completed"
    assert rest.get(f"/api/v1/artifacts/{answer.json['artifact_id']}").json["tags"] == ["a", "b"]


@pytest.mark.parametrize("table", [SMALL, LARGE], ids=["small", "large"])
def test_predicting_at_once(rest: Any, table: pa.Table) -> None:
    model = rest.model(factor=3)
    answer = rest.post(f"/api/v1/ml/$predict-now?model={model}", stream_of(table), content_type=ARROW)
    assert (answer.status, answer.headers["content-type"], answer.headers["x-model-id"]) == (200, ARROW, model)
    assert table_of(answer.body) == table.append_column("sample_0", pc.multiply(table.column("x"), 3))


@pytest.mark.parametrize("table", [SMALL, LARGE], ids=["small", "large"])
def test_the_answer_may_be_json_though_the_question_is_not(rest: Any, table: pa.Table) -> None:
    model = rest.model(factor=3)
    answer = rest.post(f"/api/v1/ml/$predict-now?model={model}", stream_of(table), content_type=ARROW, accept="application/json")
    assert answer.json["predictions"]["data"][-1][-1] == 3 * table.column("x")[-1].as_py()


def test_the_answer_may_be_arrow_though_the_question_is_not(rest: Any) -> None:
    model = rest.model()
    answer = rest.post("/api/v1/ml/$predict-now", {"model": model, "future": {"columns": ["x"], "data": [[4]]}}, accept=ARROW)
    assert table_of(answer.body).to_pydict() == {"x": [4], "sample_0": [8]}


@pytest.mark.parametrize("table", [SMALL, LARGE], ids=["small", "large"])
def test_a_prediction_as_a_job(rest: Any, table: pa.Table) -> None:
    submitted = rest.post(f"/api/v1/ml/$predict?artifact_id={rest.model()}", stream_of(table), content_type=ARROW)
    assert submitted.status == 202, submitted.body
    assert rest.ended(submitted.json["job_id"])["status"] == "completed"
    path = f"/api/v1/artifacts/{submitted.json['artifact_id']}/$download"
    download = rest.get(path, accept=ARROW)
    assert download.headers["content-type"] == ARROW
    assert table_of(download.body).num_rows == table.num_rows


def test_validation(rest: Any) -> None:
    fine = rest.post(f"/api/v1/ml/$validate?type=train&config_id={rest.config()}", stream_of(SMALL), content_type=ARROW)
    assert fine.json == {"valid": True, "diagnostics": []}
    found = rest.post(f"/api/v1/ml/$validate?type=predict&artifact_id={rest.model()}", stream_of(SMALL), content_type=ARROW).json
    assert [one["code"] for one in found["diagnostics"]] == ["historic_empty"]


def test_sample_data(rest: Any) -> None:
    sample = rest.get("/api/v1/ml/$generate-sample-data?num_periods=2&num_locations=3", accept=ARROW)
    assert table_of(sample.body).num_rows == 6
    several = rest.get("/api/v1/ml/$generate-sample-data?kind=predict", accept=ARROW)
    assert (several.status, several.json["detail"]) == (406, "There are several frames in the answer: historic, future")


@pytest.mark.parametrize("path", ["$train?config_id=01ARZ3NDEKTSV4RRFFQ69G5FAA", "$predict-now?model=01ARZ3NDEKTSV4RRFFQ69G5FAA"])
@pytest.mark.parametrize(
    "body", [b"", b"no frame", stream_of(SMALL)[:-20], b"x" * 2_000_000], ids=["none", "short", "torn", "long"]
)
def test_bodies_that_are_no_frames(rest: Any, path: str, body: bytes) -> None:
    answer = rest.post(f"/api/v1/ml/{path}", body, content_type=ARROW)
    assert answer.status in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_is_missing_in_the_query(rest: Any) -> None:
    answer = rest.post("/api/v1/ml/$train", stream_of(SMALL), content_type=ARROW)
    assert (answer.status, answer.json["errors"][0]["loc"][-1]) == (422, "config_id")


def test_large_frames_and_geography_as_json(rest: Any) -> None:
    """They travel in chunks, too."""
    frame = {"columns": ["x"], "data": [[number] for number in range(150_000)]}
    geo = {"type": "FeatureCollection", "features": [], "crs": {"a": None}}
    submitted = rest.post("/api/v1/ml/$train", {"config_id": rest.config(), "data": frame, "geo": geo})
    assert rest.ended(submitted.json["job_id"])["status"] == "completed"
    model = submitted.json["artifact_id"]
    answer = rest.post("/api/v1/ml/$predict-now", {"model": model, "future": frame, "historic": frame, "geo": geo}).json
    assert (answer["model_id"], answer["predictions"]["data"][-1]) == (model, [149_999, 299_998])
    refused = rest.post("/api/v1/ml/$predict-now", {"model": model, "future": {"columns": ["y"], "data": [[1]]}, "geo": geo})
    assert refused.status == 422


def form(**parts: bytes) -> tuple[bytes, dict[str, str]]:
    """A body of several parts, and the headers that go with it."""
    body = b"".join(
        b'--line\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (n.encode(), c) for n, c in parts.items()
    )
    return body + b"--line--\r\n", {"content_type": "multipart/form-data; boundary=line"}


@pytest.mark.parametrize("table", [SMALL, LARGE], ids=["small", "large"])
def test_several_frames_are_parts_of_a_form(rest: Any, table: pa.Table) -> None:
    model, geo = rest.model(), b'{"type": "FeatureCollection", "features": []}'
    body, headers = form(artifact_id=model.encode(), tags=b"a", historic=stream_of(table), future=stream_of(table), geo=geo)
    submitted = rest.post("/api/v1/ml/$predict?tags=b", body, **headers)
    assert submitted.status == 202, submitted.body
    assert rest.ended(submitted.json["job_id"])["status"] == "completed"
    assert rest.get(f"/api/v1/artifacts/{submitted.json['artifact_id']}").json["tags"] == ["b", "a"]


def test_the_past_may_be_left_out_of_a_form(rest: Any) -> None:
    body, headers = form(future=stream_of(SMALL))
    answer = rest.post(f"/api/v1/ml/$predict-now?model={rest.model()}", body, **headers, accept=ARROW)
    assert table_of(answer.body).column("sample_0").to_pylist() == [2, 4, 6]
    found = rest.post(f"/api/v1/ml/$validate?type=predict&artifact_id={rest.model()}", body, **headers).json
    assert [one["code"] for one in found["diagnostics"]] == ["historic_empty"]


def test_training_and_validation_by_form(rest: Any) -> None:
    body, headers = form(config_id=rest.config().encode(), data=stream_of(SMALL))
    submitted = rest.post("/api/v1/ml/$train", body, **headers)
    assert rest.ended(submitted.json["job_id"])["status"] == "completed"
    geo = b'{"type": "FeatureCollection", "features": []}'
    body, headers = form(type=b"train", config_id=rest.config().encode(), data=stream_of(SMALL), geo=geo)
    assert rest.post("/api/v1/ml/$validate", body, **headers).json == {"valid": True, "diagnostics": []}


@pytest.mark.parametrize("body", [b"", b"--line\r\n", b"x", b"--line\r\nContent-Disposition: form-data; name=data\r\n\r\nx"])
def test_bodies_that_are_no_forms(rest: Any, body: bytes) -> None:
    answer = rest.post(f"/api/v1/ml/$train?config_id={rest.config()}", body, content_type="multipart/form-data; boundary=line")
    assert (answer.status, answer.json["detail"][:20]) == (400, "The body is no form:")
    without = rest.post("/api/v1/ml/$train", body, content_type="multipart/form-data")
    assert without.status in (400, 422)
