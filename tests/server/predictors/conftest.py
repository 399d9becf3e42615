"""A real server with predictors and nothing else, called over gRPC, over HTTP, and over HTTP through a gateway in front of it."""

import asyncio
import http.client
import json
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

# Servers in processes of their own.
sys.path.insert(0, str(Path(__file__).parents[2] / "acceptance"))

from modelwire.v1 import predictor_service_pb2_grpc
from modelwire_server.app import running
from modelwire_server.gateway.alone import forwarding
from modelwire_server.settings import Settings

ZOO = Path(__file__).parent / "zoo.py"


@dataclass
class Served:
    """A server as its callers see it. `http_port` is of the server itself, `gateway_port` of the one in front of it."""

    grpc_port: int
    http_port: int
    gateway_port: int

    def __post_init__(self) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}")
        self.stub = predictor_service_pb2_grpc.PredictorServiceStub(self.channel)

    @property
    def zoo(self) -> Any:
        """The module that is served: it runs in this process."""
        return sys.modules["zoo"]

    def ask(self, verb: str, path: str, body: Any = None, port: int = 0) -> tuple[int, Any]:
        """The status, and the value of the JSON that was answered."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.http_port, timeout=30)
        try:
            connection.request(verb, path, body if body is None or isinstance(body, bytes) else json.dumps(body).encode())
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if "json" in (answer.getheader("content-type") or "") else content
        finally:
            connection.close()


@contextmanager
def serving(folder: Path, targets: list[str], **options: Any) -> Iterator[Served]:
    settings = Settings(targets=targets, data_dir=folder / "data", grpc_port=0, http_port=0, drain_seconds=1, **options)
    loop, ready, over = asyncio.new_event_loop(), Future[Served](), asyncio.Event()

    async def serve() -> None:
        try:
            async with running(settings) as server, forwarding(f"127.0.0.1:{server.grpc_port}", settings) as outside:
                ready.set_result(Served(server.grpc_port, server.http_port, outside.port))
                await over.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()])
    thread.start()
    try:
        served = ready.result(60)
        try:
            yield served
        finally:
            served.channel.close()
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(60)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("predictors"), [f"{ZOO}:composed"], predictor_check_seconds=0.05) as served:
        yield served


@pytest.fixture(params=["inside", "remote"])
def port(request: pytest.FixtureRequest, server: Served) -> int:
    """HTTP of the server itself, and of a gateway in front of it."""
    return server.http_port if request.param == "inside" else server.gateway_port


@pytest.fixture
def new_server(tmp_path: Path) -> Callable[..., AbstractContextManager[Served]]:
    return lambda *targets, **options: serving(tmp_path, [f"{ZOO}:{target}" for target in targets], **options)
