"""Streams over HTTP: jobs and events, resumed and dropped."""

import json
import selectors
import socket
import time
from typing import Any

import pytest


def messages(stream: bytes) -> list[Any]:
    """The data of server-sent events."""
    return [json.loads(event.partition(b"data: ")[2]) for event in stream.split(b"\n\n") if event]


def message(answer: Any) -> Any:
    """The next event of a stream that is still open."""
    lines = [answer.readline()]
    while lines[-1] != b"\n":
        assert lines[-1], "the stream has ended"
        lines.append(answer.readline())
    return json.loads(b"".join(lines).partition(b"data: ")[2])


def test_a_job_is_told_again_and_again_until_it_has_ended(rest: Any) -> None:
    with (
        rest.held_training() as (submitted, pipe),
        rest.stream(f"/api/v1/jobs/{submitted['job_id']}/$stream?poll_interval=0.02") as answer,
    ):
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-cache", "no")
        seen = [message(answer) for _ in range(5)]
        assert {job["status"] for job in seen} <= {"pending", "running"}
        pipe.write_text("go")
        *_, last = messages(answer.read())
        assert last["status"] == "completed"
        assert last == rest.get(f"/api/v1/jobs/{submitted['job_id']}").json


def test_the_stream_of_a_job_has_nothing_but_data(rest: Any) -> None:
    job = rest.ended(rest.train()["job_id"])
    body = rest.get(f"/api/v1/jobs/{job['id']}/$stream").body
    assert body == b"data: " + json.dumps(job, separators=(",", ":")).encode() + b"\n\n"


def test_the_stream_of_a_deleted_job_says_so(rest: Any) -> None:
    with (
        rest.held_training() as (submitted, _),
        rest.stream(f"/api/v1/jobs/{submitted['job_id']}/$stream?poll_interval=0.05") as answer,
    ):
        assert message(answer)["status"] in ("pending", "running")
        assert rest.ask("DELETE", f"/api/v1/jobs/{submitted['job_id']}").status == 204
        *_, last = messages(answer.read())
    assert last == {"status": "deleted"}


@pytest.mark.parametrize("interval", ["0", "-1", "60.5", "x", "nan"])
def test_intervals_that_cannot_be(rest: Any, interval: str) -> None:
    answer = rest.get(f"/api/v1/jobs/{rest.train()['job_id']}/$stream?poll_interval={interval}")
    assert (answer.status, answer.json["errors"][0]["loc"]) == (422, ["query", "poll_interval"])


def test_events_have_ids_to_resume_by(rest: Any) -> None:
    job = rest.ended(rest.train()["job_id"])
    path = f"/api/v1/jobs/{job['id']}/$events"
    events = [event.split(b"\n") for event in rest.get(path).body.split(b"\n\n") if event]
    numbers = list(range(1, len(events) + 1))
    assert [event[0] for event in events] == [f"id: {number}".encode() for number in numbers]
    assert [event[1] for event in events][-2:] == [b"event: artifact", b"event: state"]
    later = messages(rest.get(path, last_event_id="3").body)
    assert [event["sequence"] for event in later] == numbers[3:]
    assert messages(rest.get(path.replace("$events", "$stream"), last_event_id="3").body) == later
    assert messages(rest.get(f"{path}?after_sequence=3").body) == later
    lines = rest.get(path, accept="application/x-ndjson")
    assert [json.loads(line)["sequence"] for line in lines.body.splitlines()] == numbers
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert rest.get(path, last_event_id="x").status == 422


def test_a_job_as_lines(rest: Any) -> None:
    job = rest.ended(rest.train()["job_id"])
    assert json.loads(rest.get(f"/api/v1/jobs/{job['id']}/$stream", accept="application/x-ndjson").body) == job


@pytest.mark.parametrize("path", ["$stream", "$events"])
def test_what_cannot_be_watched_is_refused_before_the_stream_begins(rest: Any, path: str) -> None:
    unknown = rest.get(f"/api/v1/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAA/{path}")
    assert (unknown.status, unknown.headers["content-type"]) == (404, "application/problem+json")
    assert rest.get(f"/api/v1/jobs/xyz/{path}").status == 400


@pytest.mark.parametrize("path", ["$stream", "$events"])
def test_who_leaves_ends_the_call(rest: Any, path: str) -> None:
    with rest.held_training() as (submitted, _):
        with rest.stream(f"/api/v1/jobs/{submitted['job_id']}/{path}") as answer:
            message(answer)
            until_watched_by(1, rest)
        until_watched_by(0, rest)


def until_watched_by(calls: int, rest: Any) -> None:
    """Returns once so many calls watch jobs; the first message may come before its call."""
    deadline = time.monotonic() + 30
    while rest.in_flight("JobService", "WatchJob") != calls:
        assert time.monotonic() < deadline


def test_a_thousand_watchers_leave_nothing_behind(both: Any) -> None:
    rest = both["inside"]
    with rest.held_training() as (submitted, _):
        request = f"GET /api/v1/jobs/{submitted['job_id']}/$stream?poll_interval=60 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        watchers = [socket.create_connection(("127.0.0.1", rest.port)) for _ in range(1000)]
        for watcher in watchers:
            watcher.sendall(request)
        await_events(watchers)
        until_watched_by(1000, rest)
        for watcher in watchers:
            watcher.close()
        until_watched_by(0, rest)


def await_events(watchers: list[socket.socket]) -> None:
    """Returns once each of them has been told of the job."""
    received = dict.fromkeys(watchers, b"")
    with selectors.DefaultSelector() as selector:
        for watcher in watchers:
            selector.register(watcher, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                watcher = key.fileobj
                assert isinstance(watcher, socket.socket)
                received[watcher] += watcher.recv(65536)
                if b"\r\n\r\n" in received[watcher] and b"data: " in received[watcher]:
                    selector.unregister(watcher)
