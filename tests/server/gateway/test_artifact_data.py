"""What REST clients see of artifacts, and may change: models as zip files, data of any kind."""

import io
import json
import pickle
import zipfile
from typing import Any

import pytest

PICKLE = "application/x-pickle"


def test_a_pickled_model_is_a_zip_file(rest: Any) -> None:
    model = rest.model()
    path = f"/api/v1/artifacts/{model}"
    data = rest.get(path).json["data"]
    assert (data["type"], data["content_type"]) == ("ml_training_workspace", "application/zip")
    assert data["content"]["_repr"].startswith("b'PK")
    download = rest.get(f"{path}/$download")
    assert download.headers["content-type"] == "application/zip"
    assert download.headers["content-disposition"] == f"attachment; filename=artifact_{model}.zip"
    assert len(download.body) == data["content_size"] == int(download.headers["content-length"])
    with zipfile.ZipFile(io.BytesIO(download.body)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["model.pickle"]
        pickled = archive.read("model.pickle")
    assert pickle.loads(pickled) is not None
    assert rest.get(f"{path}/$download", Accept=PICKLE).body == pickled
    listed = [one for one in rest.get("/api/v1/artifacts").json if one["id"] == model]
    assert listed[0]["data"] == {key: value for key, value in data.items() if key != "content"}


def test_an_uploaded_pickle_stays_what_it_is(rest: Any) -> None:
    made = rest.ask("POST", "/api/v1/artifacts/$upload", b"\x80\x05K\x02.", {"Content-Type": PICKLE}).json
    assert rest.get(f"/api/v1/artifacts/{made['id']}").json["data"]["content_type"] == PICKLE
    assert rest.get(f"/api/v1/artifacts/{made['id']}/$download").body == b"\x80\x05K\x02."


@pytest.mark.parametrize("value", [{"a": 1, "b": [True, None]}, [1, "x"], 5, "text", None, {"type": "generic"}])
def test_data_of_any_kind_are_replaced(rest: Any, value: Any) -> None:
    made = rest.post("/api/v1/artifacts", {"data": {"first": 1}, "tags": ["kept"]}).json
    changed = rest.ask("PUT", f"/api/v1/artifacts/{made['id']}", {"data": value})
    assert (changed.status, changed.json["data"], changed.json["tags"]) == (200, value, ["kept"])
    assert rest.get(f"/api/v1/artifacts/{made['id']}").json == changed.json


def test_of_data_of_any_kind_some_have_a_meaning(rest: Any) -> None:
    data = {"content": {"large": True}, "metadata": {"who": "me"}, "else": 1}
    path = f"/api/v1/artifacts/{rest.post('/api/v1/artifacts', {'data': data}).json['id']}"
    assert rest.get(path).json["data"] == data
    assert rest.get(f"{path}/$metadata").json == {"who": "me"}
    assert rest.get(f"{path}/$expand").json["data"] == {"metadata": {"who": "me"}, "else": 1}
    rest.ask("PUT", path, {"data": [1]})
    assert rest.get(f"{path}/$metadata").json == {}
    refused = rest.get(f"{path}/$download")
    assert (refused.status, refused.json["detail"]) == (404, "Artifact has no content")


def test_what_was_read_can_be_written_back(rest: Any) -> None:
    model = rest.model()
    frame = {"columns": ["x"], "data": [[1]]}
    submitted = rest.post("/api/v1/ml/$predict", {"artifact_id": model, "historic": frame, "future": frame}).json
    rest.ended(submitted["job_id"])
    for artifact_id in (model, submitted["artifact_id"]):
        path = f"/api/v1/artifacts/{artifact_id}"
        read = rest.get(path).json
        written = rest.ask("PUT", path, {**read, "tags": ["seen"]})
        assert written.status == 200
        assert written.json == {**read, "tags": ["seen"], "updated_at": written.json["updated_at"]}


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ({}, "type"),
        ({"type": "ml_prediction"}, "type"),
        ({"type": "ml_training_workspace", "content": "other"}, "content"),
        (7, "type"),
    ],
)
def test_what_a_job_made_keeps_its_type_and_content(rest: Any, data: Any, what: str) -> None:
    path = f"/api/v1/artifacts/{rest.model()}"
    before = rest.get(path).json
    refused = rest.ask("PUT", path, {"data": data})
    assert (refused.status, refused.json["detail"]) == (409, f"The {what} of an artifact never changes: store a new artifact")
    assert rest.get(path).json == before


def test_metadata_stay_unless_they_are_given(rest: Any) -> None:
    path = f"/api/v1/artifacts/{rest.model()}"
    before = rest.get(path).json["data"]["metadata"]
    kept = rest.ask("PUT", path, {"data": {"type": "ml_training_workspace"}}).json
    assert kept["data"]["metadata"] == before
    changed = rest.ask("PUT", path, {"data": {"type": "ml_training_workspace", "metadata": {**before, "note": "good"}}}).json
    assert changed["data"]["metadata"] == {**before, "note": "good"}


def test_moves(rest: Any) -> None:
    root, child, other = (rest.post("/api/v1/artifacts", {"data": {}}).json["id"] for _ in range(3))

    def move(what: str, parent: str) -> Any:
        return rest.ask("PUT", f"/api/v1/artifacts/{what}", {"data": {}, "parent_id": parent})

    assert move(child, root).json["level"] == 1
    assert move(other, child).json["level"] == 2
    own, below = move(root, root), move(root, other)
    assert (own.status, own.json["detail"]) == (400, f"Artifact {root} cannot be its own parent")
    assert (below.status, below.json["detail"]) == (400, f"Artifact {root} cannot be moved beneath one of its own descendants")
    unknown = move(root, "01ARZ3NDEKTSV4RRFFQ69G5FAA")
    assert (unknown.status, unknown.json["constraint"]) == (409, "foreign_key")
    assert rest.ask("DELETE", f"/api/v1/artifacts/{root}").status == 204
    orphan = rest.get(f"/api/v1/artifacts/{child}").json
    assert (orphan["parent_id"], orphan["level"]) == (None, 1)


def test_links_that_cannot_be(rest: Any) -> None:
    model = rest.model()
    config = rest.config()
    path = f"/api/v1/configs/{config}/$link-artifact"
    child = rest.post("/api/v1/artifacts", {"data": {}, "parent_id": model}).json["id"]
    missing = rest.post(path, {"artifact_id": "01ARZ3NDEKTSV4RRFFQ69G5FAA"})
    assert (missing.status, missing.json["detail"]) == (400, "Artifact 01ARZ3NDEKTSV4RRFFQ69G5FAA not found")
    no_root = rest.post(path, {"artifact_id": child})
    assert (no_root.status, no_root.json["detail"]) == (400, f"Artifact {child} is not a root artifact (parent_id={model})")
    twice = rest.post(path, {"artifact_id": model})
    assert (twice.status, twice.json["constraint"]) == (409, "unique")
    unlinked = rest.post(f"/api/v1/configs/{config}/$unlink-artifact", {"artifact_id": model})
    assert unlinked.status == 404


EXACT = {"huge": -(2**80), "large": 2**53 + 1, "whole": 1.0, "null": None, "nested": [{"b": 1, "a": [2**60 + 1]}]}


def test_data_of_any_kind_come_back_exactly(rest: Any) -> None:
    made = rest.post("/api/v1/artifacts", {"data": EXACT})
    assert json.dumps(made.json["data"]) == json.dumps(EXACT)
    assert json.dumps(rest.get(f"/api/v1/artifacts/{made.json['id']}").json["data"]) == json.dumps(EXACT)


def test_what_only_looks_like_data_of_any_kind(rest: Any) -> None:
    data = {"type": "data", "metadata": {"json": "{no"}}
    made = rest.post("/api/v1/artifacts", {"data": data}).json
    assert rest.get(f"/api/v1/artifacts/{made['id']}").json["data"] == data
    upload = rest.ask("POST", '/api/v1/artifacts/$upload?type=data&metadata={"json":"{no"}'.replace('"', "%22"), b"x").json
    assert upload["data"]["type"] == "data"
    assert rest.get(f"/api/v1/artifacts/{upload['id']}/$metadata").json == {"json": "{no"}


def test_configs_come_back_exactly(rest: Any) -> None:
    made = rest.post("/api/v1/configs", {"name": "exact", "data": EXACT}).json
    assert {**made["data"], **EXACT} == made["data"]
    assert isinstance(made["data"]["large"], int)
    path = f"/api/v1/configs/{made['id']}"
    assert rest.get(path).json == made
    assert made in rest.get("/api/v1/configs").json
    changed = rest.ask("PUT", path, {"name": "exact", "data": {"large": -(2**63)}}).json
    assert changed["data"]["large"] == -(2**63)
    assert "huge" not in changed["data"]


@pytest.mark.parametrize(
    "content",
    [b"{no json", b"\xff", b'"\\ud800"', b"[" * 2000, b'{"a": 1} {"b": 2}'],
    ids=["no json", "no text", "half a character", "too deep", "two values"],
)
def test_what_is_only_called_json_is_described(rest: Any, content: bytes) -> None:
    made = rest.ask("POST", "/api/v1/artifacts/$upload", content, {"Content-Type": "application/json"}).json
    assert rest.get(f"/api/v1/artifacts/{made['id']}").json["data"]["content"]["_type"] == "bytes"
    assert rest.get(f"/api/v1/artifacts/{made['id']}/$metadata").json == {}
    assert rest.get(f"/api/v1/artifacts/{made['id']}/$download").body == content


@pytest.mark.parametrize("content", [b"[" * 200 + b"]" * 200, b"1" + b"0" * 400, b'{"a": 123456789012345678901234567890}'])
def test_json_that_no_message_can_hold_is_no_fault(rest: Any, content: bytes) -> None:
    made = rest.ask("POST", "/api/v1/artifacts/$upload", content, {"Content-Type": "application/json"}).json
    shown = rest.get(f"/api/v1/artifacts/{made['id']}")
    assert shown.status == 200
    assert rest.get(f"/api/v1/artifacts/{made['id']}/$download").body == content
