"""What can be called over HTTP: read from the google.api.http options of the contract, never written by hand."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

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

from .templates import Template, TemplateError, parse_template

_FILES = (
    runner_service_pb2,
    config_service_pb2,
    train_service_pb2,
    predict_service_pb2,
    predictor_service_pb2,
    model_service_pb2,
    job_service_pb2,
    artifact_service_pb2,
)
# The options name a verb in lower case, and anything else as a custom one.
_VERBS = ("get", "put", "post", "delete", "patch")


@dataclass(frozen=True, slots=True)
class Method:
    """One way to call an RPC over HTTP; an RPC with additional bindings has several, the primary one first.

    `body` is "" (everything is in path and query), "*" (the body is the whole request) or the field that the body is;
    `response_body` is "" or the field of the response that the answer's body is."""

    rpc: MethodDescriptor
    verb: str
    template: Template
    body: str = ""
    response_body: str = ""
    primary: bool = True

    @property
    def full_name(self) -> str:
        """`modelwire.v1.JobService.GetJob`."""
        return self.rpc.full_name

    @property
    def service(self) -> ServiceDescriptor:
        return self.rpc.containing_service

    @property
    def call_path(self) -> str:
        """`/modelwire.v1.JobService/GetJob`, as gRPC calls it."""
        return call_path(self.rpc)

    @property
    def request(self) -> Descriptor:
        return self.rpc.input_type

    @property
    def response(self) -> Descriptor:
        return self.rpc.output_type

    @property
    def client_streaming(self) -> bool:
        return bool(self.rpc.client_streaming)

    @property
    def server_streaming(self) -> bool:
        return bool(self.rpc.server_streaming)

    @property
    def success_status(self) -> int:
        return int(self.rpc.GetOptions().Extensions[options_pb2.success_status]) or 200

    @property
    def query_fields(self) -> tuple[FieldDescriptor, ...]:
        """The fields of the request that neither the path nor the body gives: they may stand in the query."""
        if self.body == "*":
            return ()
        taken = {self.body, *self.template.fields}
        return tuple(field for field in self.request.fields if field.name not in taken)


@dataclass(frozen=True, slots=True)
class Match:
    """A method, and the fields of its request that the path gives."""

    method: Method
    values: dict[str, str]


class MethodTable:
    """Finds the method that a request means."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self.methods = tuple(methods)
        self._closed: dict[int, list[Method]] = {}
        self._open: list[Method] = []
        for method in sorted(self.methods, key=lambda one: one.template.rank):
            group = self._open if method.template.open else self._closed.setdefault(len(method.template.parts), [])
            group.append(method)

    def find(self, verb: str, path: Sequence[str]) -> Match | None:
        """`path` are decoded segments. HEAD finds what GET does."""
        wanted = "GET" if verb == "HEAD" else verb
        return next((match for match in self._matches(path) if match.method.verb == wanted), None)

    def verbs(self, path: Sequence[str]) -> list[str]:
        """With which verbs a path may be called."""
        found = {match.method.verb for match in self._matches(path)}
        return sorted(found | {"HEAD"} if "GET" in found else found)

    def _matches(self, path: Sequence[str]) -> Iterable[Match]:
        """The methods that the path means: `configs/$stats` is no config, whatever the verb."""
        meant = None
        for method in self._candidates(path):
            if (values := method.template.match(path)) is None:
                continue
            meant = meant or method.template
            if method.template.rank == meant.rank:
                yield Match(method, values)

    def _candidates(self, path: Sequence[str]) -> Iterable[Method]:
        yield from self._closed.get(len(path), ())
        yield from self._open


def call_path(rpc: MethodDescriptor) -> str:
    return f"/{rpc.containing_service.full_name}/{rpc.name}"


def contract_services() -> tuple[ServiceDescriptor, ...]:
    """All services of the contract."""
    return tuple(service for file in _FILES for service in file.DESCRIPTOR.services_by_name.values())


def methods_of(services: Iterable[ServiceDescriptor]) -> tuple[Method, ...]:
    """Every binding of every method that has one, in the order of the contract. Raises TemplateError for one that cannot be."""
    return tuple(method for service in services for rpc in service.methods for method in _bindings(rpc))


def _bindings(rpc: MethodDescriptor) -> Iterable[Method]:
    options: Any = rpc.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return
    rule = options.Extensions[annotations_pb2.http]
    for number, one in enumerate((rule, *rule.additional_bindings)):
        yield _method(rpc, one, primary=number == 0)


def _method(rpc: MethodDescriptor, rule: Any, *, primary: bool) -> Method:
    kind = rule.WhichOneof("pattern")
    if kind not in (*_VERBS, "custom"):
        raise TemplateError(f"{rpc.full_name} has a binding without a path")
    verb, path = (rule.custom.kind, rule.custom.path) if kind == "custom" else (kind.upper(), getattr(rule, kind))
    method = Method(rpc, verb, parse_template(path), rule.body, rule.response_body, primary)
    _check(method)
    return method


def _check(method: Method) -> None:
    for path in method.template.fields:
        field = field_at(method.request, path)
        if field is None or field.message_type is not None or field.is_repeated:
            raise TemplateError(f"{method.full_name}: {path!r} is no field of the request that a path can give")
    if method.body not in ("", "*") and method.body not in method.request.fields_by_name:
        raise TemplateError(f"{method.full_name}: there is no field {method.body!r} for the body")
    if method.response_body and method.response_body not in method.response.fields_by_name:
        raise TemplateError(f"{method.full_name}: there is no field {method.response_body!r} in the response")


def field_at(message: Descriptor, path: str) -> FieldDescriptor | None:
    """The field at a path such as `run_info.prediction_periods`."""
    field: FieldDescriptor | None = None
    for name in path.split("."):
        inner = message if field is None else field.message_type
        field = inner.fields_by_name.get(name) if inner is not None else None
        if field is None:
            return None
    return field


def contract_methods() -> tuple[Method, ...]:
    """Everything of the contract that can be called over HTTP."""
    return methods_of(contract_services())
