"""The table of methods: the contract's own, and what else google.api.http may say."""

from typing import Any

import pytest
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from modelwire_server.gateway.methods import MethodTable, contract_methods, methods_of
from modelwire_server.gateway.templates import TemplateError, segments

TEXT, MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_STRING, descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE


def library(**rules: http_pb2.HttpRule) -> ServiceDescriptor:
    """A service of its own with a method per rule; books have a name and a shelf."""
    file = descriptor_pb2.FileDescriptorProto(name="library.proto", package="library", syntax="proto3")
    shelf, book = file.message_type.add(name="Shelf"), file.message_type.add(name="Book")
    shelf.field.add(name="theme", number=1, type=TEXT)
    book.field.add(name="name", number=1, type=TEXT)
    book.field.add(name="shelf", number=2, type=MESSAGE, type_name=".library.Shelf")
    book.field.add(name="authors", number=3, type=TEXT, label=descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED)
    service = file.service.add(name="Library")
    for name, rule in rules.items():
        method = service.method.add(name=name, input_type=".library.Book", output_type=".library.Book")
        method.options.Extensions[annotations_pb2.http].CopyFrom(rule)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindServiceByName("library.Library")


def found(table: MethodTable, verb: str, path: str) -> Any:
    match = table.find(verb, segments(path))
    return match and (match.method.rpc.name, match.values)


def test_the_contract() -> None:
    table = MethodTable(contract_methods())
    assert found(table, "GET", "/api/v1/configs/%24schema") == ("GetConfigSchema", {})
    assert found(table, "GET", "/api/v1/configs/01x") == ("GetConfig", {"config_id": "01x"})
    assert found(table, "HEAD", "/api/v1/configs/01x/") == ("GetConfig", {"config_id": "01x"})
    assert found(table, "PATCH", "/api/v1/configs/01x") is None
    assert table.verbs(segments("/api/v1/configs")) == ["GET", "HEAD", "POST"]
    assert table.verbs(segments("/api/v2/configs")) == []


def test_additional_bindings_are_methods_of_their_own() -> None:
    runner, info = (method for method in contract_methods() if method.rpc.name == "GetRunner")
    assert (runner.primary, runner.response_body, info.primary, info.response_body) == (True, "", False, "info")
    assert info.template.text == "/api/v1/info"


def test_what_a_method_says_of_itself() -> None:
    train = next(method for method in contract_methods() if method.rpc.name == "Train")
    assert (train.full_name, train.call_path) == ("modelwire.v1.TrainService.Train", "/modelwire.v1.TrainService/Train")
    assert (train.verb, train.body, train.success_status, train.query_fields) == ("POST", "*", 202, ())


def test_verbs_wildcards_and_bodies_of_any_service() -> None:
    table = MethodTable(
        methods_of(
            [
                library(
                    Get=http_pb2.HttpRule(get="/v1/{name=shelves/*/books/*}"),
                    Read=http_pb2.HttpRule(get="/v1/{name=shelves/*/books/*}:read"),
                    Themed=http_pb2.HttpRule(patch="/v1/{shelf.theme}/{name=**}", body="shelf"),
                    Look=http_pb2.HttpRule(custom=http_pb2.CustomHttpPattern(kind="LOOK", path="/v1/books")),
                )
            ]
        )
    )
    assert found(table, "GET", "/v1/shelves/1/books/2") == ("Get", {"name": "shelves/1/books/2"})
    assert found(table, "GET", "/v1/shelves/1/books/2:read") == ("Read", {"name": "shelves/1/books/2"})
    assert found(table, "PATCH", "/v1/war/shelves/1") == ("Themed", {"shelf.theme": "war", "name": "shelves/1"})
    assert found(table, "LOOK", "/v1/books") == ("Look", {})
    assert [[field.name for field in method.query_fields] for method in table.methods] == [
        ["shelf", "authors"],
        ["shelf", "authors"],
        ["authors"],
        ["name", "shelf", "authors"],
    ]


@pytest.mark.parametrize(
    "rule",
    [
        http_pb2.HttpRule(),
        http_pb2.HttpRule(get="/v1/{nothing}"),
        http_pb2.HttpRule(get="/v1/{shelf}"),
        http_pb2.HttpRule(get="/v1/{authors}"),
        http_pb2.HttpRule(get="/v1/{name.first}"),
        http_pb2.HttpRule(post="/v1/books", body="nothing"),
        http_pb2.HttpRule(get="/v1/books", response_body="nothing"),
    ],
)
def test_bindings_that_cannot_be(rule: http_pb2.HttpRule) -> None:
    with pytest.raises(TemplateError):
        methods_of([library(Get=rule)])
