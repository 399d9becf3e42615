"""What holds for the whole contract: it is served, it is mapped to HTTP, and its services have a health."""

import importlib
import inspect
from typing import Any

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor

from modelwire.v1 import (
    artifact_service_pb2,
    config_service_pb2,
    job_service_pb2,
    model_service_pb2,
    options_pb2,
    predict_service_pb2,
    predictor_service_pb2,
    runner_service_pb2,
    train_service_pb2,
)
from modelwire_server.jobs.model import JobKind, JobStatus
from modelwire_server.services import registration
from modelwire_server.services.messages import KINDS, STATUSES

FILES = (
    artifact_service_pb2,
    config_service_pb2,
    job_service_pb2,
    model_service_pb2,
    predict_service_pb2,
    predictor_service_pb2,
    runner_service_pb2,
    train_service_pb2,
)
SERVICES: list[ServiceDescriptor] = [service for file in FILES for service in file.DESCRIPTOR.services_by_name.values()]
METHODS: list[MethodDescriptor] = [method for service in SERVICES for method in service.methods]
SERVICERS: list[Any] = [value for name, value in vars(registration).items() if name.endswith("Servicer")]


def servicer_of(service: ServiceDescriptor) -> Any:
    """Our class for a service."""
    file = service.file.name.removesuffix(".proto").replace("/", ".")
    base = getattr(importlib.import_module(f"{file}_pb2_grpc"), f"{service.name}Servicer")
    (found,) = [one for one in SERVICERS if issubclass(one, base)]
    return found


def test_every_service_of_the_contract_is_registered() -> None:
    assert set(registration.SERVICES) == {service.full_name for service in SERVICES}
    assert len(SERVICERS) == len(SERVICES)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_method_is_implemented(method: MethodDescriptor) -> None:
    """A method that is missing would be inherited and answer UNIMPLEMENTED."""
    own = vars(servicer_of(method.containing_service))[method.name]
    # One that returns nothing writes its answers by itself.
    streams = inspect.isasyncgenfunction(own) or inspect.signature(own).return_annotation is None
    assert streams == method.server_streaming
    assert streams or inspect.iscoroutinefunction(own)
    assert list(inspect.signature(own).parameters)[1] == ("request_iterator" if method.client_streaming else "request")


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_method_that_http_can_express_has_a_path(method: MethodDescriptor) -> None:
    options = method.GetOptions()
    if options.HasExtension(annotations_pb2.http):
        assert options.Extensions[annotations_pb2.http].WhichOneof("pattern")
    else:
        assert method.client_streaming


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_paths_name_fields_and_bodies_that_exist(method: MethodDescriptor) -> None:
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    path = getattr(rule, rule.WhichOneof("pattern") or "get")
    for name in [part.split("}")[0] for part in path.split("{")[1:]]:
        assert method.input_type.fields_by_name[name].type == FieldDescriptor.TYPE_STRING
    if rule.response_body:
        assert rule.response_body in method.output_type.fields_by_name
    assert rule.body in ("", "*")
    assert method.GetOptions().Extensions[options_pb2.success_status] in (0, 201, 202, 204)


def test_no_two_methods_share_a_path() -> None:
    rules = [method.GetOptions().Extensions[annotations_pb2.http] for method in METHODS]
    flat = [one for rule in rules for one in (rule, *rule.additional_bindings)]
    paths = [(one.WhichOneof("pattern"), getattr(one, one.WhichOneof("pattern"))) for one in flat if one.WhichOneof("pattern")]
    assert len(set(paths)) == len(paths)


def lists() -> list[MethodDescriptor]:
    return [method for method in METHODS if "page_token" in method.input_type.fields_by_name]


@pytest.mark.parametrize("method", lists(), ids=lambda method: method.full_name)
def test_lists_come_in_pages_from_the_first_release_on(method: MethodDescriptor) -> None:
    assert {"page_size", "page_token", "skip"} <= set(method.input_type.fields_by_name)
    assert {"next_page_token", "total_size"} <= set(method.output_type.fields_by_name)


def changes(message: Descriptor) -> bool:
    return message.name.startswith(("Create", "Update", "Submit", "Train"))


@pytest.mark.parametrize("method", [m for m in METHODS if changes(m.input_type)], ids=lambda method: method.full_name)
def test_what_makes_or_changes_something_can_be_retried(method: MethodDescriptor) -> None:
    message = method.input_type
    if method.client_streaming:
        message = message.fields_by_name["header"].message_type
    assert "request_id" in message.fields_by_name


def test_every_state_and_kind_of_a_job_has_its_word() -> None:
    assert set(STATUSES) == set(JobStatus)
    assert set(KINDS) == set(JobKind)
    assert set(job_service_pb2.JobStatus.values()) - {0} == set(STATUSES.values())
    assert set(job_service_pb2.JobKind.values()) - {0} == set(KINDS.values())
