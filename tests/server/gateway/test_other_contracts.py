"""What our own contract does not have: bodies that are a field, raw answers, streams of them, and errors in the middle of a stream."""

import asyncio
import http.client
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
import uvicorn
from google.api import annotations_pb2, http_pb2, httpbody_pb2
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool
from google.protobuf.message_factory import GetMessageClass
from grpc_serving import found, serving

from modelwire_server.gateway.exchange import Options
from modelwire_server.gateway.http import http_app
from modelwire_server.gateway.methods import methods_of
from modelwire_server.gateway.remote import RemoteCalls
from modelwire_server.gateway.transcoding import Transcoder
from modelwire_server.metrics import ServerMetrics

_F = descriptor_pb2.FieldDescriptorProto


def library() -> Any:
    """A service of books."""
    file = descriptor_pb2.FileDescriptorProto(name="books.proto", package="books", syntax="proto3")
    file.dependency.append("google/api/httpbody.proto")
    book = file.message_type.add(name="Book")
    for number, (name, kind, more) in enumerate(
        [("name", _F.TYPE_STRING, {}), ("pages", _F.TYPE_INT32, {}), ("other", _F.TYPE_MESSAGE, {"type_name": ".books.Book"})], 1
    ):
        book.field.add(name=name, number=number, type=kind, **more)
    service = file.service.add(name="Library")

    def add(name: str, answer: str, rule: http_pb2.HttpRule, *, streams: bool = False) -> None:
        method = service.method.add(name=name, input_type=".books.Book", output_type=answer, server_streaming=streams)
        method.options.Extensions[annotations_pb2.http].CopyFrom(rule)

    add("Replace", ".books.Book", http_pb2.HttpRule(put="/v1/{name=shelves/*/books/*}", body="other", response_body="other"))
    add("Count", ".books.Book", http_pb2.HttpRule(get="/v1/books/{pages}/{other.pages}:count"))
    add("Print", ".google.api.HttpBody", http_pb2.HttpRule(get="/v1/{name=shelves/*}:print"))
    add("Read", ".google.api.HttpBody", http_pb2.HttpRule(get="/v1/{name=shelves/*}:read"), streams=True)
    add("Follow", ".books.Book", http_pb2.HttpRule(get="/v1/books/{pages}:follow"), streams=True)
    pool = descriptor_pool.DescriptorPool()
    for known in (any_pb2, httpbody_pb2):
        copied = descriptor_pb2.FileDescriptorProto()
        known.DESCRIPTOR.CopyToProto(copied)
        pool.Add(copied)
    pool.Add(file)
    return pool.FindServiceByName("books.Library")


LIBRARY = library()
Book: Any = GetMessageClass(LIBRARY.methods_by_name["Count"].input_type)
Body: Any = GetMessageClass(LIBRARY.methods_by_name["Print"].output_type)


async def echo(request: Any, context: Any) -> Any:
    return request


async def printed(request: Any, context: Any) -> Any:
    return Body(content_type="text/html", data=b"<b>" + request.name.encode())


async def read(request: Any, context: Any) -> AsyncIterator[Any]:
    yield Body(content_type="text/plain; charset=latin-1", data=b"Once ")
    yield Body(data=b"upon a time")


async def follow(request: Any, context: Any) -> AsyncIterator[Any]:
    for page in range(request.pages):
        yield Book(pages=page)
    await context.abort(grpc.StatusCode.DATA_LOSS, "the last page is torn")


def handlers() -> Any:
    coded = {"request_deserializer": Book.FromString, "response_serializer": lambda message: message.SerializeToString()}
    unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    methods = {
        "Replace": unary(echo, **coded),
        "Count": unary(echo, **coded),
        "Print": unary(printed, **coded),
        "Read": stream(read, **coded),
        "Follow": stream(follow, **coded),
    }
    return grpc.method_handlers_generic_handler("books.Library", methods)


Ask = Callable[..., Any]


@pytest.fixture
def answers_of() -> Callable[..., tuple[int, str, bytes]]:
    """Asks a gateway in front of a server with this service."""

    async def main(method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, str, bytes]:
        async with serving(found([handlers()])) as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            transcoder = Transcoder(RemoteCalls(channel), methods_of([LIBRARY]), Options())
            app = http_app(checks={}, metrics=ServerMetrics(), transcoder=transcoder)
            web = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", access_log=False))
            web.config.load()
            web.lifespan = web.config.lifespan_class(web.config)
            await web.startup()
            try:
                there = web.servers[0].sockets[0].getsockname()[1]
                return await asyncio.to_thread(ask, there, method, path, body, headers)
            finally:
                await web.shutdown()

    return lambda method, path, body=None, **headers: asyncio.run(main(method, path, body, headers))


def ask(port: int, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    got = answer.status, answer.getheader("content-type") or "", answer.read()
    connection.close()
    return got


def test_a_body_may_be_a_field_of_the_request_and_of_the_answer(answers_of: Any) -> None:
    status, _, body = answers_of("PUT", "/v1/shelves/1/books/2?pages=7&other.pages=9", b'{"name": "x", "pages": "5"}')
    assert (status, json.loads(body)) == (200, {"name": "x", "pages": 5, "other": None})


def test_paths_give_nested_fields_and_numbers(answers_of: Any) -> None:
    _, _, body = answers_of("GET", "/v1/books/3/4:count?name=x&other.name=y&pages=9")
    assert json.loads(body) == {"name": "x", "pages": 3, "other": {"name": "y", "pages": 4, "other": None}}
    status, _, body = answers_of("GET", "/v1/books/3/many:count")
    assert (status, json.loads(body)["errors"][0]["loc"]) == (422, ["path", "other.pages"])


def test_raw_answers(answers_of: Any) -> None:
    assert answers_of("GET", "/v1/shelves/1:print") == (200, "text/html", b"<b>shelves/1")
    assert answers_of("GET", "/v1/shelves/1:read") == (200, "text/plain; charset=latin-1", b"Once upon a time")


def test_errors_in_the_middle_of_a_stream_are_told_in_it(answers_of: Any) -> None:
    status, kind, body = answers_of("GET", "/v1/books/2:follow", accept="application/x-ndjson")
    first, second, last = map(json.loads, body.splitlines())
    assert (status, kind, first["pages"], second["pages"]) == (200, "application/x-ndjson", 0, 1)
    assert last["error"]["detail"] == "the last page is torn"
    *events, last_event, _ = answers_of("GET", "/v1/books/2:follow")[2].split(b"\n\n")
    assert [json.loads(event.removeprefix(b"data: "))["pages"] for event in events] == [0, 1]
    assert last_event.startswith(b"event: error\ndata: {")


def test_errors_before_a_stream_are_told_in_place_of_it(answers_of: Any) -> None:
    status, kind, body = answers_of("GET", "/v1/books/0:follow")
    assert (status, kind, json.loads(body)["detail"]) == (500, "application/problem+json", "the last page is torn")
