"""A server that ends tells those who watch."""

import json
from typing import Any


def test_streams_are_ended_and_say_why(new_server: Any) -> None:
    with new_server() as clients:
        rest = clients["inside"]
        submitted = rest.train(wait_for=str(rest.pipe()))
        connection = rest.open()
        connection.request("GET", f"/api/v1/jobs/{submitted['job_id']}/$events")
        answer = connection.getresponse()
        assert answer.readline() == b"id: 1\n"
    *_, last, end = answer.read().split(b"\n\n")
    connection.close()
    assert end == b""
    name, data = last.split(b"\n")
    problem = json.loads(data.removeprefix(b"data: "))
    assert (name, problem["status"], problem["detail"]) == (b"event: error", 503, "the server is shutting down")
