"""What is refused although something else in the request is right."""

from typing import Any

import pytest

HUGE = 2**70


@pytest.mark.parametrize("path", ["configs/$stats", "configs/$schema", "artifacts/$stats"])
def test_an_operation_of_a_collection_is_none_of_its_items(rest: Any, path: str) -> None:
    refused = rest.ask("PUT", f"/api/v1/{path}", {"name": "x", "data": {}})
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("query", ["size=101", "size=0", "page=0", "size=many"])
def test_half_of_a_page_is_read_too(rest: Any, query: str) -> None:
    assert rest.get(f"/api/v1/configs?{query}").status == 422


def test_numbers_of_any_size_are_told(rest: Any) -> None:
    refused = rest.post("/api/v1/ml/$train", {"config_id": HUGE, "data": {"columns": [], "data": []}})
    assert refused.status == 422
    assert [error["input"] for error in refused.json["errors"]] == [HUGE]


@pytest.mark.parametrize("query", ["$stream?poll_interval=61", "$stream?after_sequence=-1", "$events?after_sequence=-1"])
def test_what_is_wrong_with_a_stream_stays_wrong_when_it_is_resumed(rest: Any, query: str) -> None:
    job = rest.ended(rest.train()["job_id"])
    assert rest.ask("GET", f"/api/v1/jobs/{job['id']}/{query}", headers={"last-event-id": "1"}).status == 422


def test_geo_with_numbers_of_any_size_is_taken(rest: Any) -> None:
    geo = {"type": "FeatureCollection", "features": [], "size": HUGE}
    body = {"config_id": rest.config(), "data": {"columns": ["a"], "data": [[1]]}, "geo": geo}
    assert rest.post("/api/v1/ml/$train", body).status == 202
