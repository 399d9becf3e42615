"""A real server with real jobs, called over HTTP: through the gateway inside of it, and through one in front of it."""

import asyncio
import http.client
import json
import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelwire_server.app import running
from modelwire_server.gateway.alone import forwarding
from modelwire_server.settings import Settings

RUNNERS = Path(__file__).parent / "runners"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Rest:
    """A client of one HTTP port; `server_port` is that of the server itself, `grpc_port` its other one."""

    port: int
    server_port: int
    grpc_port: int
    folder: Path

    def open(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """Values that are no bytes are sent as JSON, without saying so."""
        connection = self.open()
        try:
            content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, content, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers=_named(headers))

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.ask("POST", path, body, _named(headers))

    @contextmanager
    def stream(self, path: str, **headers: str) -> Iterator[http.client.HTTPResponse]:
        """An answer to be read as it comes; leaving the block drops the connection."""
        connection = self.open()
        try:
            connection.request("GET", path, headers=_named(headers))
            yield connection.getresponse()
        finally:
            connection.close()

    def config(self, **data: Any) -> str:
        made: str = self.post("/api/v1/configs", {"name": "test", "data": data}).json["id"]
        return made

    def train(self, **data: Any) -> dict[str, str]:
        """Submits a training."""
        frame = {"columns": ["x"], "data": [[1], [2]]}
        answer = self.post("/api/v1/ml/$train", {"config_id": self.config(**data), "data": frame})
        assert answer.status == 202, answer.body
        submitted: dict[str, str] = answer.json
        return submitted

    def ended(self, job_id: str) -> dict[str, Any]:
        """The job when it has ended, as its stream tells."""
        return messages(self.get(f"/api/v1/jobs/{job_id}/$stream").body)[-1]

    def model(self, **data: Any) -> str:
        """A trained model."""
        submitted = self.train(**data)
        assert self.ended(submitted["job_id"])["status"] == "completed"
        return submitted["artifact_id"]

    def pipe(self) -> Path:
        """A new named pipe: who reads it waits until something is written."""
        pipe = self.folder / f"pipe-{uuid.uuid4()}"
        os.mkfifo(pipe)
        return pipe

    @contextmanager
    def held_training(self) -> Iterator[tuple[dict[str, str], Path]]:
        """A training that goes on when something is written to the pipe."""
        pipe = self.pipe()
        submitted = self.train(wait_for=str(pipe))
        try:
            yield submitted, pipe
        finally:
            self.ask("DELETE", f"/api/v1/jobs/{submitted['job_id']}")

    def in_flight(self, service: str, method: str) -> float:
        """How many calls of a method are under way on the server."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server_port, timeout=30)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        name = f'modelwire_calls_in_flight{{method="{method}",service="modelwire.v1.{service}"}}'
        found = re.search(re.escape(name) + r" (\S+)", text)
        return float(found.group(1)) if found else 0.0


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def messages(stream: bytes) -> list[Any]:
    """The data of server-sent events."""
    return [json.loads(event.partition(b"data: ")[2]) for event in stream.split(b"\n\n") if event]


class Background:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@contextmanager
def served(folder: Path, **options: Any) -> Iterator[dict[str, Rest]]:
    """A server, and a gateway in front of it: clients of both."""
    settings = Settings(
        targets=[f"{RUNNERS / 'patient.py'}:runner", f"{RUNNERS / 'echo.py'}:predictor"],
        data_dir=folder / "data",
        grpc_port=0,
        http_port=0,
        drain_seconds=1,
        **options,
    )
    background, ready, over = Background(), Future[dict[str, Rest]](), asyncio.Event()

    async def serve() -> None:
        try:
            async with running(settings) as server, forwarding(f"127.0.0.1:{server.grpc_port}", settings) as outside:
                ports = {"inside": server.http_port, "remote": outside.port}
                ready.set_result({name: Rest(port, server.http_port, server.grpc_port, folder) for name, port in ports.items()})
                await over.wait()
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)
            raise

    serving = asyncio.run_coroutine_threadsafe(serve(), background.loop)
    try:
        yield ready.result(60)
    finally:
        background.loop.call_soon_threadsafe(over.set)
        serving.result(60)
        background.close()


@pytest.fixture(scope="package")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Rest]]:
    with served(tmp_path_factory.mktemp("gateway")) as clients:
        yield clients


@pytest.fixture(params=["inside", "remote"])
def rest(request: pytest.FixtureRequest, both: dict[str, Rest]) -> Rest:
    """Every test runs against the gateway in the server and against one in front of it."""
    return both[request.param]


@pytest.fixture(scope="package")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    """A server whose answers have all fields, and that takes only small bodies."""
    options = {"max_http_body_bytes": "64KiB", "rest_extra_fields": True, "rest_info_profile": 2}
    with served(tmp_path_factory.mktemp("limited"), **options) as clients:
        yield clients["inside"]


@pytest.fixture
def new_server(tmp_path: Path) -> Callable[..., AbstractContextManager[dict[str, Rest]]]:
    """Starts a server of the test's own."""
    return lambda **options: served(tmp_path, **options)
