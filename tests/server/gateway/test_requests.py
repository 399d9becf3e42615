"""Deadlines, clients that leave, limits, and what else a request may say of itself."""

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("header", [{"x_timeout": "2"}, {"grpc_timeout": "2000m"}])
def test_deadlines(rest: Any, header: dict[str, str]) -> None:
    model, pipe = rest.model(), rest.pipe()
    answer = rest.post("/api/v1/ml/$predict-now", waiting_for(model, pipe), **header)
    pipe.write_text("go")
    assert (answer.status, answer.json["title"]) == (504, "Gateway Timeout")


def waiting_for(model: str, pipe: Path) -> dict[str, Any]:
    """A prediction that goes on when something is written to the pipe."""
    return {"model": model, "future": {"columns": ["x", "pipe"], "data": [[1, str(pipe)]]}}


@pytest.mark.parametrize("header", [{"x_timeout": "soon"}, {"x_timeout": "0"}, {"x_timeout": "nan"}, {"grpc_timeout": "1"}])
def test_deadlines_that_are_none(rest: Any, header: dict[str, str]) -> None:
    answer = rest.get("/api/v1/configs", **header)
    assert (answer.status, answer.json["title"]) == (400, "Bad Request")


def test_who_leaves_ends_the_call(rest: Any) -> None:
    model, pipe = rest.model(), rest.pipe()
    body = json.dumps(waiting_for(model, pipe)).encode()
    with socket.create_connection(("127.0.0.1", rest.port)) as connection:
        head = f"POST /api/v1/ml/$predict-now HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        waiting = pipe.open("w")  # returns when the prediction reads it
        assert rest.in_flight("PredictService", "Predict") == 1
    await_in_flight(rest, "PredictService", "Predict", 0)
    waiting.close()


def test_an_upload_that_is_broken_off_leaves_nothing(rest: Any) -> None:
    before = rest.get("/api/v1/artifacts/$stats").json
    with socket.create_connection(("127.0.0.1", rest.port)) as connection:
        head = "POST /api/v1/artifacts/$upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 3_000_000)
        await_in_flight(rest, "ArtifactService", "UploadArtifact", 1)
    await_in_flight(rest, "ArtifactService", "UploadArtifact", 0)
    assert rest.get("/api/v1/artifacts/$stats").json == before


def await_in_flight(rest: Any, service: str, method: str, count: int) -> None:
    deadline = time.monotonic() + 30
    while rest.in_flight(service, method) != count:
        assert time.monotonic() < deadline


def test_bodies_above_the_limit(limited: Any) -> None:
    body = b'{"name": "x", "data": {"a": "' + b"x" * 70_000 + b'"}}'
    announced = limited.ask("POST", "/api/v1/configs", body)
    assert (announced.status, announced.json["detail"]) == (413, "The body has more than 65,536 bytes, the limit for it")
    connection = limited.open()
    connection.request("POST", "/api/v1/configs", iter([body[:40_000], body[40_000:]]), encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    assert limited.ask("POST", "/api/v1/configs", b'{"name": "x", "data": {"a": "' + b"x" * 60_000 + b'"}}').status == 201


def test_files_are_not_bound_by_it(limited: Any) -> None:
    assert limited.ask("POST", "/api/v1/artifacts/$upload", b"x" * 1_000_000).status == 201


def test_the_newer_fields_of_the_info_card(limited: Any) -> None:
    info = limited.get("/api/v1/info").json
    names = list(info)
    assert names[names.index("model_metadata") + 1] == "git_revision"
    assert names[-2:] == ["target", "hpo_search_space"]
    assert info["target"] == "disease_cases"


def test_all_fields_of_the_contract(limited: Any) -> None:
    config = limited.post("/api/v1/configs", {"name": "x", "data": {}}).json
    assert (list(config)[-1], config["runner_id"]) == ("runner_id", "patient")
    job = limited.ended(limited.train()["job_id"])
    assert (job["kind"], job["attempt"], job["timeout"], job["error_reason"]) == ("train", 1, None, None)
    unknown = limited.post("/api/v1/ml/$train", {"config_id": job["id"], "data": {"columns": ["x"], "data": [[1]]}}).json
    assert limited.ended(unknown["job_id"])["error_reason"] == "CONFIG_NOT_FOUND"
    artifact = limited.get(f"/api/v1/artifacts/{job['artifact_id']}").json
    assert artifact["data"]["digest"].startswith("sha256:")


def test_timeouts_and_other_fields_of_a_submission(limited: Any) -> None:
    frame = {"columns": ["x"], "data": [[1]]}
    body = {"config_id": limited.config(), "data": frame, "timeout": "90.5s", "priority": "5", "tags": None, "request_id": "r1"}
    first, second = (limited.post("/api/v1/ml/$train", body).json for _ in range(2))
    assert first["job_id"] == second["job_id"]
    job = limited.get(f"/api/v1/jobs/{first['job_id']}").json
    assert (job["timeout"], job["priority"]) == ("90.500s", 5)
