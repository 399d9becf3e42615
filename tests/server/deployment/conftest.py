"""A real server with runners, called over HTTP as clients of the short paths do."""

import asyncio
import http.client
import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelwire import Client
from modelwire_server.app import running
from modelwire_server.gateway.alone import forwarding
from modelwire_server.settings import Settings

MODELS = Path(__file__).parent / "deployed.py"
FRAME = {"columns": ["a", "b", "kind"], "data": [[1.0, 2.0, "good"], [3.0, 1.0, "bad"], [2.0, 2.5, "good"]]}


@dataclass
class Deployment:
    """A server as its callers see it. `http_port` is of the server itself, `gateway_port` of the one in front of it."""

    grpc_port: int
    http_port: int
    gateway_port: int

    def __post_init__(self) -> None:
        self.client = Client(f"127.0.0.1:{self.grpc_port}")

    @property
    def models_module(self) -> Any:
        """The module that is served: predictions run in this process."""
        return sys.modules["deployed"]

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

    def trained(self, runner: str) -> str:
        """The id of a model that was trained now."""
        config = self.client.configs.create(runner, {}, runner=runner)
        rows = [dict(zip(FRAME["columns"], row, strict=True)) for row in FRAME["data"]]
        columns = {name: [row[name] for row in rows] for name in FRAME["columns"]}
        return self.client.train(config, columns).wait(timeout=60).id

    def deploy(self, name: str, runner: str, **known: Any) -> str:
        """The id of a model that is deployed under a name."""
        model = self.trained(runner)
        self.client.registry.register(name, model, alias="production", **known)
        return model

    def forget_all(self) -> None:
        for model in list(self.client.registry.list()):
            self.client.registry.delete(model.name)


@contextmanager
def serving(folder: Path, **options: Any) -> Iterator[Deployment]:
    settings = Settings(
        targets=[f"{MODELS}:runners"],
        data_dir=folder / "data",
        grpc_port=0,
        http_port=0,
        drain_seconds=1,
        predict_threads=8,
        **options,
    )
    loop, ready, over = asyncio.new_event_loop(), Future[Deployment](), asyncio.Event()

    async def serve() -> None:
        try:
            async with running(settings) as server, forwarding(f"127.0.0.1:{server.grpc_port}", settings) as outside:
                ready.set_result(Deployment(server.grpc_port, server.http_port, outside.port))
                await over.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()])
    thread.start()
    try:
        deployment = ready.result(60)
        try:
            yield deployment
        finally:
            deployment.client.close()
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(60)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@pytest.fixture(scope="package")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with serving(tmp_path_factory.mktemp("deployment")) as deployment:
        yield deployment


@pytest.fixture
def server(shared: Deployment) -> Iterator[Deployment]:
    """A server without any registered model."""
    yield shared
    shared.forget_all()


@pytest.fixture(params=["inside", "remote"])
def port(request: pytest.FixtureRequest, server: Deployment) -> int:
    """HTTP of the server itself, and of a gateway in front of it."""
    return server.http_port if request.param == "inside" else server.gateway_port
