"""Messages as JSON and as query parameters: whatever is written can be read, and comes back as it was."""

import base64
import math
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from modelwire.v1 import (
    artifact_pb2,
    config_service_pb2,
    job_service_pb2,
    predict_service_pb2,
    runner_service_pb2,
    train_service_pb2,
)
from modelwire_server.gateway.parsing import Complaints, read_message
from modelwire_server.gateway.query import read_query
from modelwire_server.gateway.rendering import Renderer, to_json
from modelwire_server.gateway.shapes import enum_words, is_required

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
SECONDS = st.integers(0, 4_000_000_000)
_F = FieldDescriptor
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    _F.TYPE_STRING: TEXT,
    _F.TYPE_BYTES: st.binary(max_size=8),
    _F.TYPE_BOOL: st.booleans(),
    _F.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    _F.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    _F.TYPE_DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
}


def well_known(name: str) -> st.SearchStrategy[Any] | None:
    """JSON of messages that are something else in JSON."""
    moments = st.builds("{:%Y-%m-%dT%H:%M:%S.%fZ}".format, st.datetimes(min_value=datetime(1000, 1, 1)))  # noqa: DTZ001
    return {
        "google.protobuf.Struct": st.dictionaries(TEXT, JSON, max_size=3),
        "google.protobuf.Value": JSON.filter(lambda value: value is not None),
        "google.protobuf.ListValue": st.lists(JSON, max_size=3),
        "google.protobuf.Timestamp": moments,
        "google.protobuf.Duration": st.builds("{}s".format, st.integers(0, 1000)),
    }.get(name)


def values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """JSON of a field."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        return st.dictionaries(values(key).map(str), values(value), max_size=2)
    if field.message_type is not None:
        known = well_known(field.message_type.full_name)
        one = objects(field.message_type) if known is None else known
    elif field.enum_type is not None:
        one = st.sampled_from(sorted(enum_words(field.enum_type)))
    elif field.type == _F.TYPE_BYTES:
        one = SCALARS[field.type].map(lambda content: base64.b64encode(content).decode())
    else:
        one = SCALARS[field.type]
    return st.lists(one, max_size=3) if field.is_repeated else one


def objects(message: Descriptor) -> st.SearchStrategy[dict[str, Any]]:
    """JSON of a message, most fields left out, and one of those that exclude each other."""

    def one_of_each(found: dict[str, Any]) -> dict[str, Any]:
        seen: set[str] = set()
        kept = {}
        for name, value in found.items():
            oneof = message.fields_by_name[name].containing_oneof
            if oneof is None or oneof.name not in seen:
                kept[name] = value
            if oneof is not None:
                seen.add(oneof.name)
        return kept

    fields = {
        field.name: values(field)
        for field in message.fields
        if field.message_type is None or field.message_type.full_name not in (message.full_name, "modelwire.v1.Frame")
    }
    required = {name: strategy for name, strategy in fields.items() if is_required(message.fields_by_name[name])}
    return st.fixed_dictionaries(required, optional={name: one for name, one in fields.items() if name not in required}).map(
        one_of_each
    )


def read(kind: Descriptor, value: Any, found: Complaints | None = None) -> Any:
    message = GetMessageClass(kind)()
    complaints = found or Complaints()
    frames = [f.name for f in kind.fields if f.message_type is not None and f.message_type.full_name == "modelwire.v1.Frame"]
    read_message(message, value, ("body",), complaints, given=frames)
    if found is None:
        complaints.settle()
    return message


MESSAGES: list[Descriptor] = [
    config_service_pb2.CreateConfigRequest.DESCRIPTOR,
    config_service_pb2.UpdateConfigRequest.DESCRIPTOR,
    train_service_pb2.TrainRequest.DESCRIPTOR,
    predict_service_pb2.SubmitPredictionRequest.DESCRIPTOR,
    job_service_pb2.Job.DESCRIPTOR,
    job_service_pb2.JobEvent.DESCRIPTOR,
    artifact_pb2.ArtifactData.DESCRIPTOR,
    runner_service_pb2.GetRunnerResponse.DESCRIPTOR,
]


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.name)
def test_what_is_read_is_written_as_it_was(kind: Descriptor) -> None:
    @given(objects(kind))
    def check(value: dict[str, Any]) -> None:
        message = read(kind, value)
        written = orjson.loads(to_json(Renderer(extra=True).message(message)))
        assert {name: written[name] for name in value} == {
            name: normal(kind.fields_by_name[name], one) for name, one in value.items()
        }
        assert read(kind, written) == message

    check()


def normal(field: FieldDescriptor, value: Any) -> Any:
    """Values as they are written: durations with all their digits, floats that are whole like the others."""
    if field.message_type is not None and field.message_type.full_name == "google.protobuf.Duration":
        return f"{int(value[:-1])}s"
    if field.message_type is not None and well_known(field.message_type.full_name) is None:
        return (
            _normal_message(field.message_type, value)
            if isinstance(value, dict)
            else [_normal_message(field.message_type, one) for one in value]
        )
    return value


def _normal_message(kind: Descriptor, value: dict[str, Any]) -> Any:
    return orjson.loads(to_json(Renderer(extra=True).message(read(kind, value))))


@given(st.integers())
def test_integers_are_bound_by_their_type(number: int) -> None:
    found = Complaints()
    request = read(train_service_pb2.TrainRequest.DESCRIPTOR, {"config_id": "x", "data": {}, "priority": number}, found)
    assert (request.priority == number) == (not found.errors) == (-(2**31) <= number < 2**31)


@given(JSON)
def test_any_json_is_read_or_complained_about(value: Any) -> None:
    """Never with an exception, and each complaint names where it is."""
    for kind in MESSAGES:
        for body in (value, {field.name: value for field in kind.fields}):
            found = Complaints()
            read(kind, body, found)
            assert all(error["loc"][0] == "body" and error["msg"] for error in found.errors)


@pytest.mark.parametrize(
    ("value", "number"),
    [(5, 5), ("5", 5), (5.0, 5), ("-7", -7), (True, None), ("x", None), (5.5, None), ([], None), (math.nan, None)],
)
def test_integers_may_be_written_as_text(value: Any, number: int | None) -> None:
    found = Complaints()
    request = read(train_service_pb2.TrainRequest.DESCRIPTOR, {"config_id": "x", "priority": value}, found)
    assert (request.priority if not found.errors else None) == number


def asked(kind: Any, query: str) -> tuple[Any, list[dict[str, Any]]]:
    message, found = kind(), Complaints()
    read_query(message, query, found)
    return message, found.errors


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("status_filter=completed", {"status_filter": 3}),
        ("status_filter=JOB_STATUS_COMPLETED", {"status_filter": 3}),
        ("statusFilter=failed", {"status_filter": 4}),
        ("page_size=7&page_size=8", {"page_size": 8}),
        ("page_size=+7", {"page_size": 7}),
        ("kind=train&nothing=1&page_token.x=1", {"kind": 1}),
        ("runner_id=a%20%C3%A4+b", {"runner_id": "a ä b"}),
        ("runner_id=", {"runner_id": ""}),
    ],
)
def test_single_values(query: str, wanted: dict[str, Any]) -> None:
    message, errors = asked(job_service_pb2.ListJobsRequest, query)
    assert errors == []
    assert {field.name: value for field, value in message.ListFields()} == {name: value for name, value in wanted.items() if value}


def test_repeated_nested_and_well_known_values() -> None:
    query = (
        "tags=a&tags=b&run_info.prediction_periods=3&run_info.additional_continuous_covariates=x&run_info.prediction_length=4"
        "&timeout=1.5s&geo=%7B%22type%22:%20%22x%22%7D"
    )
    message, errors = asked(train_service_pb2.TrainRequest, query)
    assert errors == []
    wanted = train_service_pb2.TrainRequest(
        tags=["a", "b"], run_info={"prediction_periods": 4, "additional_continuous_covariates": ["x"]}, geo={"type": "x"}
    )
    wanted.timeout.FromMilliseconds(1500)
    assert message == wanted


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("page_size=x", "int_parsing"),
        ("page_size=99999999999", "less_than_equal"),
        ("status_filter=done", "enum"),
        ("status_filter=3", "enum"),
    ],
)
def test_values_that_cannot_be(query: str, kind: str) -> None:
    _, errors = asked(job_service_pb2.ListJobsRequest, query)
    assert [(error["type"], error["loc"]) for error in errors] == [(kind, ["query", query.partition("=")[0]])]


@pytest.mark.parametrize(("text", "truth"), [("true", True), ("1", True), ("False", False), ("no", False), ("maybe", None)])
def test_booleans(text: str, truth: bool | None) -> None:
    message, errors = asked(runner_service_pb2.GenerateSampleDataRequest, f"include_geo={text}")
    assert (message.include_geo if message.HasField("include_geo") else None) == truth
    assert bool(errors) == (truth is None)


@given(st.text(max_size=40))
def test_any_query_is_read_or_complained_about(query: str) -> None:
    for kind in (job_service_pb2.ListJobsRequest, train_service_pb2.TrainRequest):
        _, errors = asked(kind, query)
        assert all(error["loc"][0] == "query" for error in errors)


@given(
    st.sampled_from(["tags", "geo", "timeout", "run_info", "run_info.prediction_periods", "priority", "data", "errors_in_job"]),
    TEXT,
)
def test_any_value_of_a_parameter_is_read_or_complained_about(name: str, text: str) -> None:
    _, errors = asked(train_service_pb2.TrainRequest, urlencode({name: text}))
    assert all(error["loc"][:2] == ["query", name] for error in errors)


def test_entities_have_whole_seconds_and_jobs_have_microseconds() -> None:
    artifact, job = artifact_pb2.Artifact(), job_service_pb2.Job()
    for time in (artifact.created_at, job.submitted_at):
        time.FromJsonString("2026-11-20T23:18:04.058695123Z")
    assert Renderer().field(artifact, "created_at") == "2026-11-20T23:18:04"
    assert Renderer().field(job, "submitted_at") == "2026-11-20T23:18:04.058695Z"
    assert Renderer().field(job, "started_at") is None
