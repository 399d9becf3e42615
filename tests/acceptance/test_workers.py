"""A server with several workers is one server: whichever of them is asked, when one of them is gone, and while all are replaced."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import grpc
import psutil
import pyarrow as pa
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving import RUNNERS, ServerProcess
from storages import POSTGRESQL_AND_FILES, SQLITE_AND_FILES, new_storage

from modelwire import Client, Job, Model, NotFound
from modelwire.events import Event, ProgressEvent, StateEvent
from modelwire.v1 import frame_pb2, predict_service_pb2, predict_service_pb2_grpc


def arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


DATA = {"x": [1.0, 2.0, 3.0]}
ROW = arrow(pa.table({"x": [1.0]}))
SERVING = RUNNERS / "editions.py"
TARGETS = [f"{RUNNERS / 'behaviours.py'}:runner", f"{SERVING}:runner", f"{SERVING}:slow"]


@contextmanager
def workers(folder: Path, *targets: str, count: int = 2, **settings: object) -> Iterator[ServerProcess]:
    with ServerProcess(*(targets or TARGETS), data_dir=folder, workers=count, **settings) as server:
        until(lambda: "serving" in server.output())
        yield server


@pytest.fixture(scope="module", params=[SQLITE_AND_FILES, POSTGRESQL_AND_FILES])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for tests that do it no harm."""
    folder = tmp_path_factory.mktemp("workers")
    with new_storage(request.param, request) as urls, workers(folder, count=3, **vars(urls)) as server:
        yield server


@pytest.fixture
def clients(server: ServerProcess) -> Iterator[list[Client]]:
    """So many, each with a connection of its own, that some of them have different workers."""
    with ExitStack() as stack:
        yield [stack.enter_context(Client(server.target)) for _ in range(8)]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server for a test that harms it."""
    with workers(tmp_path / "data", max_connection_age=1, worker_timeout=2, drain_seconds=5) as server:
        yield server


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Keeps jobs at work until somebody writes to it."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
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


def test_a_job_is_submitted_watched_and_canceled_through_any_worker(
    server: ServerProcess, clients: list[Client], gate: Path
) -> None:
    job = submit(clients[0], behaviour="gate", gate=str(gate))
    in_parallel(*(lambda client=client: until_working(client.jobs.get(job.id)) for client in clients))
    watching = ThreadPoolExecutor(len(clients))
    seen = [watching.submit(watched, client, job) for client in clients]
    clients[1].jobs.cancel(job.id)
    events = [future.result(timeout=30) for future in seen]
    assert all(one == events[0] for one in events)
    last = events[0][-1]
    assert isinstance(last, StateEvent)
    assert last.status == "canceled"


def test_every_watcher_sees_every_event(server: ServerProcess, clients: list[Client]) -> None:
    jobs = in_parallel(*(lambda client=client: submit(client, behaviour="chatty", lines=30) for client in clients[:4]))
    for job in jobs:
        events = in_parallel(*(lambda client=client, job=job: watched(client, job) for client in clients))
        assert all(one == events[0] for one in events)
        assert events[0][-1].status == "completed"


def test_calls_are_spread_over_the_workers(server: ServerProcess, clients: list[Client]) -> None:
    model = trained(clients[0])
    with ExitStack() as stack:
        more = [stack.enter_context(Client(server.target)) for _ in range(24)]
        assert {pid_of(client, model) for client in more} == set(serving_pids(server).values())


def test_a_deleted_model_is_forgotten_by_every_worker(server: ServerProcess, clients: list[Client]) -> None:
    model = trained(clients[0])
    assert len({pid_of(client, model) for client in clients}) > 1
    clients[0].artifacts.delete(model.id)
    for client in clients:
        # The others are told, which takes a moment.
        until(lambda client=client: is_gone(client, model))


def is_gone(client: Client, model: Model) -> bool:
    try:
        client.predict(model, {"x": [1.0]})
    except NotFound:
        return True
    return False


def test_a_name_means_the_same_to_every_worker_at_once(server: ServerProcess, clients: list[Client]) -> None:
    models = {behaviour: trained(clients[0], behaviour=behaviour) for behaviour in ("blue", "green")}
    for number, model in enumerate(models.values()):
        clients[number].registry.register("paint", model)
    for number, behaviour in enumerate([*models] * 3):
        clients[number].registry.promote("paint", 1 + number % 2)
        # Nobody waits: whoever has it confirmed finds it everywhere.
        answers = in_parallel(*(lambda client=client: client.predict("paint@production", {"x": [1.0]}) for client in clients))
        assert {answer["model"][0].as_py() for answer in answers} == {behaviour}


def test_many_write_at_once(server: ServerProcess, clients: list[Client]) -> None:
    before = len(list(clients[0].configs.list()))

    def write(client: Client) -> None:
        for number in range(40):
            client.configs.create(f"config {number}", {}, runner="serving")

    in_parallel(*(lambda client=client: write(client) for client in clients))
    assert len(list(clients[0].configs.list())) == before + 40 * len(clients)


def test_the_metrics_are_those_of_all(server: ServerProcess, clients: list[Client]) -> None:
    model = trained(clients[0])
    name = "modelwire_calls_handled_total['OK', 'Predict', 'modelwire.v1.PredictService']"
    before = samples(server)
    assert len({pid_of(client, model) for client in clients}) > 1
    after = samples(server)
    assert after[name] - before.get(name, 0) == len(clients)
    assert after["modelwire_workers[]"] == 3
    assert after["modelwire_jobs['completed']"] >= 1
    assert after["modelwire_artifacts['ml_training']"] >= 1
    assert sum(key.startswith("modelwire_job_seconds_count") for key in after) >= 1


def test_health_and_logs(server: ServerProcess) -> None:
    found = health(server)
    assert (found["status"], set(found["checks"])) == ("healthy", {"database", "workers"})
    (line,) = [line for line in server.output().splitlines() if "workers=3" in line]
    assert f"grpc_port={server.grpc_port}" in line
    assert "worker=jobs" in server.output()


def test_a_worker_that_is_killed_under_load_fails_only_its_own_calls(own: ServerProcess) -> None:
    with Client(own.target) as client:
        model = trained(client)
    with Load(own, model, waits=True) as load:
        victim = serving_pids(own)["1"]
        os.kill(victim, signal.SIGKILL)
        killed_at = time.monotonic()
        until(lambda: serving_pids(own).get("1", victim) != victim and is_healthy(own))
        replaced_after = time.monotonic() - killed_at
        load.go_on()
    assert replaced_after < 2
    # Those that were under way on all connections, and those that were given to them before it was known that they are gone.
    assert len(load.failures) <= 24
    assert {failure.code() for failure in load.failures} <= {grpc.StatusCode.UNAVAILABLE}
    assert samples(own)["modelwire_worker_restarts_total[]"] == 1


def test_the_port_is_gone_before_the_connections_of_a_worker_that_is_killed(own: ServerProcess) -> None:
    """Otherwise who has lost a connection may be given another that is about to go: descriptors are closed in their order."""
    with Client(own.target) as client:
        model = trained(client)
    with Load(own, model):
        for pid in serving_pids(own).values():
            links = [link for link in psutil.Process(pid).net_connections("tcp") if link.laddr.port == own.grpc_port]
            ports = [link.fd for link in links if link.status == psutil.CONN_LISTEN]
            assert ports
            assert all(link.fd > max(ports) for link in links if link.status == psutil.CONN_ESTABLISHED)


def test_the_client_hides_that_a_worker_is_killed(own: ServerProcess) -> None:
    over = threading.Event()

    def predict(model: Model) -> int:
        calls = 0
        with Client(own.target) as client:
            while not over.is_set():
                client.predict(model, {"x": [1.0]})
                calls += 1
        return calls

    with Client(own.target) as client, ThreadPoolExecutor() as threads:
        model = trained(client)
        working = [threads.submit(predict, model) for _ in range(8)]
        for seat in ("1", "2"):
            victim = serving_pids(own)[seat]
            os.kill(victim, signal.SIGKILL)
            until(lambda seat=seat, victim=victim: serving_pids(own).get(seat, victim) != victim)
            until(lambda: is_healthy(own))
        over.set()
        assert all(future.result(timeout=30) > 0 for future in working)


def test_what_was_counted_is_not_forgotten_with_a_worker(own: ServerProcess) -> None:
    name = "modelwire_calls_handled_total['OK', 'Predict', 'modelwire.v1.PredictService']"
    with Client(own.target) as client:
        model = trained(client)
        victim = pid_of(client, model)
        for _ in range(9):
            client.predict(model, {"x": [1.0]})
        assert samples(own)[name] == 10
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in processes(own))
        until(lambda: samples(own).get(name) == 10)
        client.predict(model, {"x": [1.0]})
        assert samples(own)[name] == 11


def test_a_worker_that_dies_at_once_does_not_take_the_others_with_it(own: ServerProcess) -> None:
    with Client(own.target) as client:
        deadly, model = trained(client, behaviour="deadly"), trained(client)
        stub = predict_service_pb2_grpc.PredictServiceStub
        request = predict_service_pb2.PredictRequest(model=deadly.id, future=frame_pb2.Frame(arrow=ROW))
        for _ in range(2):
            with grpc.insecure_channel(own.target) as channel:
                with pytest.raises(grpc.RpcError) as failure:
                    stub(channel).Predict(request, timeout=10)
                assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
        assert client.predict(model, {"x": [1.0]}).num_rows == 1
    until(lambda: is_healthy(own))


def test_a_stuck_worker_is_replaced(own: ServerProcess) -> None:
    with Client(own.target) as client, Client(own.target) as other:
        model, stuck = trained(client), trained(client, behaviour="stuck", seconds=600)
        victim = pid_of(other, model)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(other.predict, stuck, {"x": [1.0]}, timeout=2.5)
            until(lambda: victim not in processes(own))
            assert waiting.exception(timeout=30) is not None
        until(lambda: is_healthy(own))
        assert pid_of(other, model) != victim
    assert "a worker is stuck" in own.output()


def test_all_begin_anew_when_the_template_is_killed(own: ServerProcess) -> None:
    with Client(own.target) as client:
        model = trained(client)
    before = processes(own)
    template = psutil.Process(serving_pids(own)["1"]).parent()
    assert template is not None
    template.kill()
    until(lambda: not before.keys() & processes(own).keys() and len(serving_pids(own)) == 2)
    until(lambda: is_healthy(own))
    with Client(own.target) as client:
        assert client.predict(model, {"x": [1.0]}).num_rows == 1


def test_jobs_go_on_when_the_process_that_runs_them_is_killed(own: ServerProcess, gate: Path) -> None:
    with Client(own.target) as client:
        lost = submit(client, behaviour="gate", gate=str(gate))
        until_working(lost)
        before = set(processes(own))
        victim = jobs_pid(own)
        os.kill(victim, signal.SIGKILL)
        last = watched(client, lost)[-1]
        assert isinstance(last, StateEvent)
        assert (last.status, last.reason) == ("failed", "WORKER_LOST")
        assert submit(client, behaviour="mean").wait(timeout=30)
    # Its fork server and the jobs have gone with it.
    until(lambda: len(before & set(processes(own))) == 3)


def service(folder: Path, edition: int) -> str:
    """A runner of this edition; its file is written anew."""
    path = folder / "service.py"
    path.write_text(SERVING.read_text().replace("EDITION = 1", f"EDITION = {edition}"))
    return f"{path}:runner"


def renew(server: ServerProcess) -> None:
    server.process.send_signal(signal.SIGHUP)


def renew_and_wait(server: ServerProcess) -> None:
    before = server.output().count("all workers are renewed")
    renew(server)
    until(lambda: server.output().count("all workers are renewed") > before, seconds=40)


def test_all_workers_are_renewed_and_no_call_fails(tmp_path: Path, gate: Path) -> None:
    targets = service(tmp_path, 1), f"{RUNNERS / 'behaviours.py'}:runner"
    with workers(tmp_path / "data", *targets, max_connection_age=1) as server, Client(server.target) as client:
        model = trained(client)
        job = submit(client, behaviour="gate", gate=str(gate))
        until_working(job)
        before = processes(server)
        with Load(server, model) as load, Visits(server) as visits:
            service(tmp_path, 2)
            renew_and_wait(server)
            load.go_on(500)
        assert (load.failures, visits.failures) == ([], [])
        assert visits.count > 100
        assert set(load.editions) == {1, 2}
        assert client.predict(model, {"x": [1.0]})["edition"].to_pylist() == [2]
        # Who had the job sees it to its end; the new ones are at work besides.
        assert trained(client)
        left = before.keys() & processes(server).keys()
        assert {before[pid] for pid in left} >= {"modelwire jobs"}
        gate.write_text("")
        assert job.wait(timeout=30)
        until(lambda: not before.keys() & processes(server).keys())


def test_what_cannot_be_imported_replaces_nothing(tmp_path: Path) -> None:
    target = service(tmp_path, 1)
    with workers(tmp_path / "data", target, max_connection_age=1) as server, Client(server.target) as client:
        model = trained(client)
        before = serving_pids(server)
        (tmp_path / "service.py").write_text("import there_is_no_such_module")
        renew(server)
        until(lambda: "there can be no new ones" in server.output())
        assert "there_is_no_such_module" in server.output()
        assert (serving_pids(server), health(server)["status"]) == (before, "healthy")
        assert client.predict(model, {"x": [1.0]})["edition"].to_pylist() == [1]
        service(tmp_path, 3)
        renew_and_wait(server)
        assert client.predict(model, {"x": [1.0]})["edition"].to_pylist() == [3]


def test_nothing_is_left_when_the_supervisor_is_killed(own: ServerProcess, gate: Path) -> None:
    with Client(own.target) as client:
        until_working(submit(client, behaviour="gate", gate=str(gate)))
    left = [psutil.Process(pid) for pid in processes(own)]
    assert len(left) >= 6
    own.kill()
    _, alive = psutil.wait_procs(left, timeout=5)
    assert alive == []
    # The folder and the ports are free again, and what is left of the job is found.
    own.start()
    with Client(own.target) as client:
        (job,) = client.jobs.list()
        until(lambda: client.jobs.get(job.id).status == "failed")


def test_calls_under_way_end_before_the_server_does(own: ServerProcess) -> None:
    with Client(own.target) as client, ThreadPoolExecutor(1) as threads:
        model = trained(client, runner="slow", seconds=1.5)
        name = "modelwire_calls_in_flight['Predict', 'modelwire.v1.PredictService']"
        answer = threads.submit(client.predict, model, DATA)
        until(lambda: samples(own).get(name) == 1)
        left = [psutil.Process(pid) for pid in processes(own)]
        assert own.stop() == 0
        assert answer.result(timeout=10).num_rows == 3
        assert [process for process in left if process.is_running()] == []


def test_a_job_is_handed_back_at_the_end(own: ServerProcess, gate: Path) -> None:
    with Client(own.target) as client:
        job = submit(client, behaviour="gate", gate=str(gate))
        until_working(job)
    assert own.stop() == 0
    own.start()
    with Client(own.target) as client:
        again = client.jobs.get(job.id)
        until_working(again)
        gate.write_text("")
        assert again.wait(timeout=30)


SCRIPTED = """
from modelwire_runners import RunnerInfo, ShellModelRunner

runner = ShellModelRunner(
    "echo trained > model", "test ! -p {gate} || read line < {gate}; cp {{future_file}} {{output_file}}", info=RunnerInfo(id="scripted")
)
"""


def test_scripts_predict_in_any_worker(tmp_path: Path) -> None:
    """Also while all workers are replaced, and while the server ends."""
    project, gate = tmp_path / "project", tmp_path / "gate"
    project.mkdir()
    (project / "scripted.py").write_text(SCRIPTED.format(gate=gate))
    with workers(tmp_path / "data", f"{project / 'scripted.py'}:runner", max_connection_age=1) as server, ExitStack() as stack:
        clients = [stack.enter_context(Client(server.target)) for _ in range(4)]
        model = trained(clients[0], runner="scripted")
        answers = in_parallel(*(lambda client=client: client.predict(model, DATA) for client in clients))
        assert [answer.num_rows for answer in answers] == [3] * 4
        os.mkfifo(gate)
        for number in (signal.SIGHUP, signal.SIGTERM):
            before = server.output()
            with ThreadPoolExecutor(1) as threads:
                answer = threads.submit(clients[0].predict, model, DATA)
                # Opened when the script reads from it.
                with gate.open("w") as opened:
                    server.process.send_signal(number)
                    until(lambda before=before: server.output() != before)
                    opened.write("go on\n")
                assert answer.result(timeout=30).num_rows == 3


def serve(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`modelwire serve` that cannot start."""
    command = [str(Path(sys.executable).parent / "modelwire"), "serve", "--workers=2", f"--data-dir={folder}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_what_hinders_the_start_is_said(server: ServerProcess, tmp_path: Path) -> None:
    target = f"{SERVING}:runner"
    assert "in use" in serve(tmp_path, target, f"--grpc-port={server.grpc_port}", "--http-port=0").stderr
    assert "in use" in serve(tmp_path, target, "--grpc-port=0", f"--http-port={server.http_port}").stderr
    broken = serve(tmp_path, f"{SERVING}:nobody", "--grpc-port=0", "--http-port=0")
    assert (broken.returncode, "nobody" in broken.stderr) == (2, True)
    nowhere = ["--database-url=postgresql://nobody@127.0.0.1:1/nothing", "--grpc-port=0", "--http-port=0"]
    unreachable = serve(tmp_path, target, *nowhere)
    assert (unreachable.returncode, "database does not answer" in unreachable.stderr) == (2, True)


def test_free_ports_are_found_and_told(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "modelwire"), "serve", f"{SERVING}:runner", "--workers=2", "--json"]
    free = ["--grpc-port=0", "--http-port=0", f"--data-dir={tmp_path}"]
    with subprocess.Popen([*command, *free], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        with Client(told["grpc"]) as client:
            assert client.predict(trained(client), DATA).num_rows == 3
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
