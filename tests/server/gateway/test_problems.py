"""What is said when something is wrong."""

from typing import Any

import pytest

UNKNOWN = "01ARZ3NDEKTSV4RRFFQ69G5FAA"
PREFIX = "urn:servicekit:error:"
FRAME = {"columns": ["x"], "data": [[1], [2]]}


def url(rest: Any, path: str) -> str:
    return f"http://127.0.0.1:{rest.port}{path}"


@pytest.mark.parametrize(
    ("method", "path", "status", "kind", "title", "detail"),
    [
        ("GET", "/api/v1/configs/xyz", 400, "invalid-ulid", "Invalid ULID Format", "Invalid ULID format: xyz"),
        ("GET", "/api/v1/jobs/xyz", 400, "invalid-ulid", "Invalid ULID Format", "Invalid job ID format: xyz"),
        ("GET", f"/api/v1/configs/{UNKNOWN}", 404, "not-found", "Resource Not Found", f"Entity with id {UNKNOWN} not found"),
        ("DELETE", f"/api/v1/artifacts/{UNKNOWN}", 404, "not-found", "Resource Not Found", f"Entity with id {UNKNOWN} not found"),
        (
            "GET",
            f"/api/v1/artifacts/{UNKNOWN}/$tree",
            404,
            "not-found",
            "Resource Not Found",
            f"Artifact with id {UNKNOWN} not found",
        ),
        (
            "GET",
            f"/api/v1/artifacts/{UNKNOWN}/$download",
            404,
            "not-found",
            "Resource Not Found",
            f"Artifact with id {UNKNOWN} not found",
        ),
        ("GET", f"/api/v1/jobs/{UNKNOWN}", 404, "not-found", "Resource Not Found", f"Job with id {UNKNOWN} not found"),
        ("DELETE", f"/api/v1/jobs/{UNKNOWN}", 404, "not-found", "Resource Not Found", f"Job with id {UNKNOWN} not found"),
    ],
)
def test_problems_of_a_path(rest: Any, method: str, path: str, status: int, kind: str, title: str, detail: str) -> None:
    answer = rest.ask(method, path)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json
    assert problem.pop("reason")
    assert (answer.status, problem) == (
        status,
        {"type": PREFIX + kind, "title": title, "status": status, "detail": detail, "instance": path},
    )


def test_ids_are_told_as_they_were_sent(rest: Any) -> None:
    assert rest.get("/api/v1/configs/x%2Fy%20z").json["detail"] == "Invalid ULID format: x/y z"


def test_what_is_missing_in_a_body(rest: Any) -> None:
    answer = rest.post("/api/v1/ml/$train", {})
    assert answer.status == 422
    assert answer.json == {
        "type": PREFIX + "validation-failed",
        "title": "Validation Error",
        "status": 422,
        "detail": "Request validation failed",
        "instance": url(rest, "/api/v1/ml/$train"),
        "trace_id": answer.headers["x-request-id"],
        "errors": [
            {"type": "missing", "loc": ["body", "config_id"], "msg": "Field required", "input": {}},
            {"type": "missing", "loc": ["body", "data"], "msg": "Field required", "input": {}},
        ],
    }
    assert rest.post("/api/v1/ml/$train").json["errors"] == answer.json["errors"]


@pytest.mark.parametrize(
    ("path", "body", "errors"),
    [
        ("/api/v1/configs", {"name": 5}, [("string_type", ["name"], 5)]),
        ("/api/v1/configs", {"name": "x", "data": []}, [("dict_type", ["data"], [])]),
        ("/api/v1/configs", {"name": "x", "tags": "a"}, [("list_type", ["tags"], "a")]),
        ("/api/v1/configs", {"name": "x", "tags": ["a", 1]}, [("string_type", ["tags", 1], 1)]),
        ("/api/v1/configs", {"name": "x", "tags": ["a", "a b"]}, [("value_error", ["tags", 1], "a b")]),
        ("/api/v1/configs", {"name": "x", "id": "y"}, [("ulid_format", ["id"], "y")]),
        ("/api/v1/configs", {"name": "x", "data": {"factor": "y"}}, [("int_parsing", ["data", "factor"], "y")]),
        ("/api/v1/configs", [], [("model_attributes_type", [], [])]),
        ("/api/v1/ml/$train", {"config_id": "x", "data": FRAME}, [("ulid_format", ["config_id"], "x")]),
        ("/api/v1/ml/$train", {"config_id": UNKNOWN, "data": []}, None),
        ("/api/v1/ml/$train", {"config_id": UNKNOWN, "data": FRAME, "run_info": {"prediction_periods": "x"}}, None),
        ("/api/v1/ml/$train", {"config_id": UNKNOWN, "data": FRAME, "geo": {"type": "Feature"}}, None),
        ("/api/v1/ml/$train", {"config_id": UNKNOWN, "data": FRAME, "geo": "x"}, None),
        ("/api/v1/ml/$train", {"config_id": UNKNOWN, "data": {"columns": ["x"], "data": [[1], []]}}, None),
        ("/api/v1/ml/$validate", {"config_id": UNKNOWN, "data": FRAME}, [("missing", ["type"], ...)]),
        ("/api/v1/ml/$validate", {"type": "fit"}, [("enum", ["type"], "fit")]),
        ("/api/v1/artifacts", {}, [("missing", ["data"], {})]),
    ],
)
def test_what_is_wrong_in_a_body(rest: Any, path: str, body: Any, errors: Any) -> None:
    answer = rest.post(path, body)
    assert (answer.status, answer.json["detail"]) == (422, "Request validation failed")
    found = [(error["type"], error["loc"], error["input"]) for error in answer.json["errors"]]
    assert all(error["msg"] for error in answer.json["errors"])
    if errors is None:
        assert {place[0] for _, place, _ in found} == {"body"}
    else:
        assert found == [(kind, ["body", *place], found[0][2] if value is ... else value) for kind, place, value in errors]


def test_ragged_rows_are_told_by_their_number(rest: Any) -> None:
    frame = {"columns": ["x", "y"], "data": [[1, 2], [1, 2, 3]]}
    answer = rest.post("/api/v1/ml/$train", {"config_id": UNKNOWN, "data": frame})
    (error,) = answer.json["errors"]
    assert (error["loc"], error["msg"], error["input"]) == (
        ["body", "data", "data", 1],
        "row 2 has 3 values for 2 columns",
        [1, 2, 3],
    )


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"name": "\xc3"}', b"{} x", b"[" * 2000, b"nul"])
def test_bodies_that_are_no_json(rest: Any, body: bytes) -> None:
    (error,) = rest.ask("POST", "/api/v1/configs", body).json["errors"]
    assert (error["type"], error["loc"][0]) == ("json_invalid", "body")


def test_text_that_is_no_unicode(rest: Any) -> None:
    (error,) = rest.ask("POST", "/api/v1/configs", rb'{"name": "\ud800"}').json["errors"]
    assert (error["type"], error["loc"]) in [("string_unicode", ["body", "name"]), ("json_invalid", ["body"])]


def test_numbers_that_json_does_not_have_are_missing_values(rest: Any) -> None:
    answer = rest.ask("POST", "/api/v1/configs", b'{"name": "x", "data": {"opt": NaN, "more": [Infinity, 1]}}')
    assert answer.json["data"]["opt"] is None
    assert answer.json["data"]["more"] == [None, 1]


@pytest.mark.parametrize(
    ("query", "place"), [("status_filter=done", "status_filter"), ("page_size=x", "page_size"), ("skip=-1", "skip")]
)
def test_what_is_wrong_in_a_query(rest: Any, query: str, place: str) -> None:
    answer = rest.get(f"/api/v1/jobs?{query}")
    assert (answer.status, answer.json["errors"][0]["loc"]) == (422, ["query", place])


def test_unknown_members_and_parameters_do_not_count(rest: Any) -> None:
    assert rest.get("/api/v1/jobs?nothing=1&status_filter=completed&a.b=2").status == 200
    assert rest.post("/api/v1/configs", {"name": "x", "data": {}, "nothing": [1]}).status == 201


def test_conflicts(rest: Any) -> None:
    config_id = rest.config()
    again = rest.post("/api/v1/configs", {"name": "x", "data": {}, "id": config_id})
    assert (again.status, again.json["title"]) == (409, "Resource Conflict")
    assert again.json["detail"] == f"Entity with id {config_id} already exists"
    orphan = rest.post("/api/v1/artifacts", {"data": {}, "parent_id": UNKNOWN})
    assert (orphan.status, orphan.json["constraint"]) == (409, "foreign_key")
    assert orphan.json["detail"] == "Entity violates a database constraint"
    root = rest.post("/api/v1/artifacts", {"data": {}}).json["id"]
    path = f"/api/v1/configs/{config_id}/$link-artifact"
    assert rest.post(path, {"artifact_id": root}).status == 204
    twice = rest.post(path, {"artifact_id": root})
    assert (twice.status, twice.json["constraint"], twice.json["title"]) == (409, "unique", "Conflict")
    assert twice.json["trace_id"] == twice.headers["x-request-id"]


def test_links_that_cannot_be(rest: Any) -> None:
    config_id, root = rest.config(), rest.post("/api/v1/artifacts", {"data": {}}).json["id"]
    leaf = rest.post("/api/v1/artifacts", {"data": {}, "parent_id": root}).json["id"]
    path = f"/api/v1/configs/{config_id}/$link-artifact"
    unknown = rest.post(path, {"artifact_id": UNKNOWN})
    assert (unknown.status, unknown.json["detail"]) == (400, f"Artifact {UNKNOWN} not found")
    not_root = rest.post(path, {"artifact_id": leaf})
    assert (not_root.status, not_root.json["detail"]) == (400, f"Artifact {leaf} is not a root artifact (parent_id={root})")


def test_trees_that_cannot_be(rest: Any) -> None:
    root = rest.post("/api/v1/artifacts", {"data": {}}).json["id"]
    leaf = rest.post("/api/v1/artifacts", {"data": {}, "parent_id": root}).json["id"]
    own = rest.ask("PUT", f"/api/v1/artifacts/{root}", {"data": {}, "parent_id": root})
    assert (own.status, own.json["detail"]) == (400, f"Artifact {root} cannot be its own parent")
    beneath = rest.ask("PUT", f"/api/v1/artifacts/{root}", {"data": {}, "parent_id": leaf})
    assert beneath.status == 400
    assert beneath.json["detail"].endswith("cannot be moved beneath one of its own descendants")


def test_no_content_to_download(rest: Any) -> None:
    made = rest.post("/api/v1/artifacts", {"data": {"type": "generic", "metadata": {}}}).json
    answer = rest.get(f"/api/v1/artifacts/{made['id']}/$download")
    assert (answer.status, answer.json["detail"]) == (404, "Artifact has no content")


def test_paths_and_verbs_that_are_not_there(rest: Any) -> None:
    nothing = rest.get("/api/v1/nothing")
    assert (nothing.status, nothing.json["detail"]) == (404, "Not Found")
    verb = rest.ask("PATCH", "/api/v1/configs")
    assert (verb.status, verb.json["detail"], verb.headers["allow"]) == (405, "Method Not Allowed", "GET, HEAD, POST")
    own = rest.ask("POST", "/health")
    assert (own.status, own.json["detail"], own.headers["allow"]) == (405, "Method Not Allowed", "GET, HEAD")


def test_bodies_that_are_encoded(rest: Any) -> None:
    assert rest.post("/api/v1/configs", b"x", content_encoding="gzip").status == 415


def test_long_input_is_not_sent_back(rest: Any) -> None:
    answer = rest.post("/api/v1/ml/$train", {"data": {"columns": ["x"], "data": [[1]] * 10_000}})
    (error,) = answer.json["errors"]
    assert error["loc"] == ["body", "config_id"]
    assert len(answer.body) < 2000
