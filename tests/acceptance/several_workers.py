"""A server with several workers, and what tests ask of it."""

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import grpc
import psutil
import pyarrow as pa
from prometheus_client.parser import text_string_to_metric_families
from serving import RUNNERS, ServerProcess

from modelwire import Client, Job, Model
from modelwire.events import Event, ProgressEvent
from modelwire.v1 import frame_pb2, predict_service_pb2, predict_service_pb2_grpc
from modelwire_server.frames import write_frame

DATA = {"x": [1.0, 2.0, 3.0]}
ROW = write_frame(pa.table({"x": [1.0]}))
SERVING = RUNNERS / "editions.py"
TARGETS = [f"{RUNNERS / 'behaviours.py'}:runner", f"{SERVING}:runner", f"{SERVING}:slow"]


@contextmanager
def workers(folder: Path, *targets: str, count: int = 2, **settings: object) -> Iterator[ServerProcess]:
    with ServerProcess(*(targets or TARGETS), data_dir=folder, workers=count, **settings) as server:
        until(lambda: "serving" in server.output())
        yield server


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits for what nobody tells us of."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def trained(client: Client, runner: str = "serving", **config: object) -> Model:
    return client.train(client.configs.create("test", config, runner=runner), DATA).wait(timeout=30)


def submit(client: Client, **config: object) -> Job:
    return client.train(client.configs.create("test", config, runner="behaviours"), DATA)


def until_working(job: Job) -> None:
    next(event for event in job.watch() if isinstance(event, ProgressEvent))


def watched(client: Client, job: Job) -> list[Event]:
    events = list(client.jobs.get(job.id).watch())
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    return events


def in_parallel(*work: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(work)) as threads:
        return [future.result(timeout=60) for future in [threads.submit(one) for one in work]]


def get(server: ServerProcess, path: str) -> bytes:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}{path}") as answer:
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        return error.read()


def health(server: ServerProcess) -> Any:
    return json.loads(get(server, "/health"))


def is_healthy(server: ServerProcess) -> bool:
    try:
        return bool(health(server)["status"] == "healthy")
    except (OSError, http.client.HTTPException):
        # Its worker was killed.
        return False


def samples(server: ServerProcess) -> dict[str, float]:
    """All that /metrics says, by name and labels."""
    families = text_string_to_metric_families(get(server, "/metrics").decode())
    return {f"{sample.name}{sorted(sample.labels.values())}": sample.value for family in families for sample in family.samples}


def processes(server: ServerProcess) -> dict[int, str]:
    """The processes of a server below its supervisor, by what they are."""
    found = {}
    for process in server.process.children(recursive=True):
        try:
            found[process.pid] = process.name()
        except psutil.NoSuchProcess:
            continue
    return found


def serving_pids(server: ServerProcess) -> dict[str, int]:
    """The workers that answer calls, by number."""
    return {name.split()[1]: pid for pid, name in processes(server).items() if name.startswith("modelwire ") and "jobs" not in name}


def jobs_pid(server: ServerProcess) -> int:
    return next(pid for pid, name in processes(server).items() if name == "modelwire jobs")


def pid_of(client: Client, model: Model) -> int:
    """The worker that a client is connected with."""
    return int(client.predict(model, {"x": [1.0]}).to_pydict()["pid"][0])


class Load:
    """Predicts again and again, over `connections` connections with `width` calls each, until the block ends. As in every client of gRPC's
    nothing is tried again but what a server has refused unseen, because it closed the connection in that moment. With `waits` calls wait
    for a connection where there is none, instead of failing at once, over and over."""

    def __init__(self, server: ServerProcess, model: Model, connections: int = 6, width: int = 2, *, waits: bool = False) -> None:
        self._server, self._model, self._connections, self._width = server, model, connections, width
        self._waits = waits
        self._over = threading.Event()
        self.editions: Counter[int] = Counter()
        self.failures: list[grpc.RpcError] = []

    def __enter__(self) -> Self:
        self._channels = [
            grpc.insecure_channel(self._server.target, options=[("grpc.use_local_subchannel_pool", 1)])
            for _ in range(self._connections)
        ]
        self._threads = [threading.Thread(target=self._run, args=[one]) for one in self._channels * self._width]
        for thread in self._threads:
            thread.start()
        until(lambda: self.calls > 50)
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        for channel in self._channels:
            channel.close()

    @property
    def calls(self) -> int:
        return sum(self.editions.values())

    def go_on(self, calls: int = 100) -> None:
        """Waits for so many more calls."""
        enough = self.calls + calls
        until(lambda: self.calls >= enough)

    def _run(self, channel: grpc.Channel) -> None:
        stub = predict_service_pb2_grpc.PredictServiceStub(channel)
        request = predict_service_pb2.PredictRequest(model=self._model.id, future=frame_pb2.Frame(arrow=ROW))
        while not self._over.is_set():
            try:
                answer = stub.Predict(request, timeout=30, wait_for_ready=self._waits).predictions.arrow
                self.editions[pa.ipc.open_stream(answer).read_all()["edition"][0].as_py()] += 1
            except grpc.RpcError as error:
                self.failures.append(error)


class Visits:
    """Asks over HTTP again and again, on a connection for all and on one for each, until the block ends."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._over = threading.Event()
        self.count = 0
        self.failures: list[Exception] = []

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._visit, args=[lasting]) for lasting in (True, False)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _visit(self, lasting: bool) -> None:
        # Connects anew by itself when the server has closed the connection with its last answer.
        connection = http.client.HTTPConnection("127.0.0.1", self._server.http_port, timeout=10)
        while not self._over.is_set():
            try:
                connection.request("GET", "/api/v1/system")
                connection.getresponse().read()
                self.count += 1
                if not lasting:
                    connection.close()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(error)
                connection.close()
        connection.close()
