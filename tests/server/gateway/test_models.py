"""Models by name over HTTP: versions, aliases, gates, and the events that tell of them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def name(rest: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    """A model with two versions, the first of which is production; the server is shared."""
    name = f"weather-{abs(hash(request.node.name))}"
    for version in ("1", "2"):
        answer = rest.post(f"/api/v1/models/{name}/versions", {"artifact_id": rest.model(), "metrics": {"accuracy": 0.9}})
        assert answer.status == 201
        assert answer.headers["location"].endswith(f"/api/v1/models/{name}/versions/{version}")
        assert rest.get(f"/api/v1/models/{name}/versions/{version}").json == answer.json
    assert promote(rest, name, 1).status == 200
    yield name
    rest.ask("DELETE", f"/api/v1/models/{name}")


def promote(rest: Any, name: str, version: Any, **more: Any) -> Any:
    return rest.post(f"/api/v1/models/{name}/$promote", {"version": version, **more})


def told(stream: bytes) -> list[tuple[str, str, Any]]:
    """Id, name and data of server-sent events."""
    events = []
    for event in stream.strip().split(b"\n\n"):
        number, kind, data = event.decode().split("\n")
        events.append((number.removeprefix("id: "), kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


def first(rest: Any, count: int, query: str, **headers: str) -> list[tuple[str, str, Any]]:
    """The first events of the registry's stream, which does not end."""
    with rest.stream(f"/api/v1/models/$watch{query}", **headers) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        return told(b"".join(answer.readline() for _ in range(4 * count)))


def test_models_are_listed_with_their_aliases(rest: Any, name: str) -> None:
    model = rest.get(f"/api/v1/models/{name}").json
    assert (model["name"], model["latest_version"], model["aliases"]) == (name, 2, {"production": 1})
    assert model in rest.get("/api/v1/models").json
    page = rest.get("/api/v1/models?page=1&size=1").json
    assert (page["page"], page["size"], len(page["items"])) == (1, 1, 1)
    versions = rest.get(f"/api/v1/models/{name}/versions").json
    assert [version["version"] for version in versions] == [2, 1]
    assert versions[1]["aliases"] == ["production"]


def test_an_alias_moves_and_goes_back(rest: Any, name: str) -> None:
    moved = promote(rest, name, "2").json
    assert (moved["model"]["aliases"], moved["findings"]) == ({"production": 2}, [])
    back = rest.post(f"/api/v1/models/{name}/$rollback").json
    assert back["aliases"] == {"production": 1}
    refused = rest.post(f"/api/v1/models/{name}/$rollback", {})
    assert (refused.status, refused.json["reason"]) == (409, "NOTHING_TO_ROLL_BACK")


@pytest.mark.parametrize("version", [2, 2.0, "2", "production"])
def test_a_version_is_named_by_number_text_or_alias(rest: Any, name: str, version: Any) -> None:
    answer = promote(rest, name, version, alias="staging")
    assert answer.json["model"]["aliases"] == {"production": 1, "staging": 1 if version == "production" else 2}


def test_a_gate_refuses_with_each_rule_that_is_broken(rest: Any, name: str) -> None:
    gate = {"metrics": {"accuracy": {"minimum": 0.95}}, "required": ["description"]}
    assert rest.ask("PUT", f"/api/v1/models/{name}", {"gate": gate}).json["gate"]["metrics"]["accuracy"]["minimum"] == 0.95
    checked = promote(rest, name, 2, dry_run=True).json
    assert {finding["rule"]: finding["passed"] for finding in checked["findings"]} == {
        "metrics.accuracy.minimum": False,
        "required.description": False,
    }
    refused = promote(rest, name, 2)
    assert (refused.status, refused.json["reason"]) == (409, "PROMOTION_REFUSED")
    assert refused.json["findings"] == checked["findings"]
    assert rest.get(f"/api/v1/models/{name}").json["aliases"] == {"production": 1}
    assert promote(rest, name, 2, override="it must be").json["model"]["aliases"] == {"production": 2}


def test_what_is_in_use_cannot_be_deleted(rest: Any, name: str) -> None:
    refused = rest.ask("DELETE", f"/api/v1/models/{name}/versions/1")
    assert (refused.status, refused.json["reason"]) == (409, "MODEL_IN_USE")
    assert rest.ask("DELETE", f"/api/v1/models/{name}/aliases/production").status == 204
    assert rest.ask("DELETE", f"/api/v1/models/{name}/versions/1").status == 204
    assert rest.ask("DELETE", f"/api/v1/models/{name}").status == 204
    assert rest.get(f"/api/v1/models/{name}").status == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "place"),
    [
        ("GET", "/a b", None, 422, ["path", "name"]),
        ("GET", "/{name}/versions/-1", None, 422, ["path", "version"]),
        ("GET", "/nobody", None, 404, None),
        ("GET", "/{name}/versions/9", None, 404, None),
        ("POST", "/{name}/$promote", {}, 422, ["body", "version"]),
        ("POST", "/{name}/$promote", {"version": 0}, 422, ["body", "version"]),
        ("POST", "/{name}/$promote", {"version": 1.5}, 422, ["body", "version"]),
        ("POST", "/{name}/$promote", {"version": True}, 422, ["body", "version"]),
        ("POST", "/{name}/$promote", {"version": 9}, 404, None),
        ("POST", "/{name}/$promote", {"version": 2, "alias": "1st"}, 422, ["body", "alias"]),
        ("POST", "/{name}/versions", {"artifact_id": "x"}, 422, ["body", "artifact_id"]),
        ("POST", "/{name}/versions", {"artifact_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}, 404, None),
        ("POST", "/{name}/versions", {"metrics": {"a": "high"}}, 422, ["body", "metrics", "a"]),
        ("PUT", "/{name}", {"gate": {"metrics": {"a": {"max_drop": -1}}}}, 422, ["body", "gate", "metrics", "a", "max_drop"]),
        ("PUT", "/{name}", {"gate": {"golden": {"max_seconds": 1}}}, 422, ["body", "gate", "golden", "dataset_id"]),
        ("PUT", "/{name}/versions/1", {"stage": "best"}, 422, ["body", "stage"]),
        ("GET", "/$watch?after_sequence=-2", None, 422, ["query", "after_sequence"]),
    ],
)
def test_mistakes_are_told(rest: Any, name: str, method: str, path: str, body: Any, status: int, place: Any) -> None:
    answer = rest.ask(method, f"/api/v1/models{path.format(name=name).replace(' ', '%20')}", body)
    assert answer.status == status, answer.body
    assert place is None or place in [entry["loc"] for entry in answer.json["errors"]]


@pytest.mark.parametrize("field", ["features", "metrics"])
def test_names_that_no_database_stores_are_refused(rest: Any, name: str, field: str) -> None:
    value: Any = {"features": ["a\0"], "metrics": {"a\0": 1}}[field]
    assert rest.post(f"/api/v1/models/{name}/versions", {"artifact_id": rest.model(), field: value}).status == 422


def test_events_are_streamed_and_resumed(rest: Any, name: str) -> None:
    begun = first(rest, 3, f"?name={name}")
    assert [(kind, data["version"], data["alias"]) for _, kind, data in begun] == [
        ("registered", 1, ""),
        ("registered", 2, ""),
        ("promoted", 1, "production"),
    ]
    assert [number for number, _, data in begun] == [str(data["sequence"]) for _, _, data in begun]
    assert first(rest, 2, f"?name={name}&after_sequence=-1", last_event_id=begun[0][0]) == begun[1:]


def test_a_stream_of_what_is_new_says_at_once_that_it_is_there(rest: Any, name: str) -> None:
    with rest.stream(f"/api/v1/models/$watch?name={name}&after_sequence=-1", accept="application/x-ndjson") as answer:
        beat = json.loads(answer.readline())
        assert (beat["kind"], beat["name"]) == (None, "")
        promote(rest, name, 2)
        event = json.loads(answer.readline())
    assert (event["kind"], event["version"], event["previous_version"]) == ("promoted", 2, 1)
    assert event["sequence"] > beat["sequence"]
