"""A server with several workers is one server, whichever of them is asked."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from serving import ServerProcess
from several_workers import (
    DATA,
    SERVING,
    health,
    in_parallel,
    pid_of,
    samples,
    serving_pids,
    submit,
    trained,
    until,
    until_working,
    watched,
    workers,
)
from storages import POSTGRESQL_AND_FILES, SQLITE_AND_FILES, new_storage

from modelwire import Client, Model, NotFound
from modelwire.events import StateEvent


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
