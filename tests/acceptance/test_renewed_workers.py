"""All workers are replaced while they serve, and a server ends in good order."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from serving import RUNNERS, ServerProcess
from several_workers import (
    DATA,
    SERVING,
    Load,
    Visits,
    health,
    processes,
    samples,
    serving_pids,
    submit,
    trained,
    until,
    until_working,
    workers,
)

from modelwire import Client


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
    until(lambda: server.output().count("all workers are renewed") > before)


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
