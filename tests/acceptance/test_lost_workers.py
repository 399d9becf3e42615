"""Workers that crash, hang or are killed are replaced, and fail nothing but their own calls."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil
import pytest
from serving import ServerProcess
from several_workers import (
    ROW,
    Load,
    is_healthy,
    jobs_pid,
    pid_of,
    processes,
    samples,
    serving_pids,
    submit,
    trained,
    until,
    until_working,
    watched,
)

from modelwire import Client, Model
from modelwire.events import StateEvent
from modelwire.v1 import frame_pb2, predict_service_pb2, predict_service_pb2_grpc


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
    # Mostly less than one; how long exactly is told by the benchmark `killed`.
    assert replaced_after < 10
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
    # Where both calls meet a worker each, there is none for as long as it takes to replace one.
    with Client(own.target, wait_for_ready=True) as client:
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
