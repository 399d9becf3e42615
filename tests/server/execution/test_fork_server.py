"""The fork server's own life: what it loads, and what happens when it or the server dies."""

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import psutil
import pytest
from job_bench import TARGETS, ZOO, Bench, carrying, is_alive, load

from modelwire_server.errors import WorkerLost
from modelwire_server.execution.interface import Completed, Failed
from modelwire_server.execution.local import LocalExecutor

SERVER = """
import asyncio, sys
from job_bench import Bench
from modelwire_server.execution.local import LocalExecutor
from pathlib import Path
target, folder, owner = sys.argv[1:]
with asyncio.Runner() as loop:
    bench = Bench(Path(folder), LocalExecutor([target], owner=owner), loop)
    bench.run(bench.training("escapee"))
"""


def kill_fork_server(bench: Bench) -> None:
    assert bench.executor.fork_server_pid is not None
    os.kill(bench.executor.fork_server_pid, signal.SIGKILL)


@pytest.mark.parametrize("do", ["grandchild", "escapee", "forked_escapee"])
def test_a_killed_fork_server_loses_its_jobs_and_leaves_nothing(bench: Bench, do: str) -> None:
    outcome = bench.do(bench.run_until(bench.training(do), "pid", lambda: kill_fork_server(bench)))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, WorkerLost)
    assert "-9" in outcome.error.message
    for name in ("pid", "grandchild"):
        assert not is_alive(int((bench.marks / name).read_text()))
    # Another one takes its place.
    assert isinstance(bench.run(bench.training("return", config={"value": 1})), Completed)


def test_a_job_that_comes_while_the_fork_server_is_away_waits_for_the_next(bench: Bench) -> None:
    before = bench.executor.fork_server_pid
    kill_fork_server(bench)

    async def main() -> object:
        # The loss is not yet known to the executor, or just so; in neither case may jobs hang.
        outcomes = [await bench.go(bench.training("return", config={"value": 1})) for _ in range(2)]
        return outcomes[1]

    assert isinstance(bench.do(main()), Completed)
    assert bench.executor.fork_server_pid not in (before, None)


def test_a_stop_signal_to_all_processes_leaves_jobs_to_the_server(bench: Bench) -> None:
    pid = bench.executor.fork_server_pid
    assert pid is not None
    for signo in (signal.SIGTERM, signal.SIGINT):
        os.kill(pid, signo)
    assert isinstance(bench.run(bench.training("return", config={"value": 1})), Completed)
    assert bench.executor.fork_server_pid == pid


def test_a_spare_process_that_dies_is_replaced(bench: Bench) -> None:
    assert isinstance(bench.run(bench.training("return", config={"value": 1})), Completed)
    for spare in psutil.Process(bench.executor.fork_server_pid).children():
        spare.kill()
        spare.wait()
    assert isinstance(bench.run(bench.training("return", config={"value": 1})), Completed)


def server_at_work(folder: Path, owner: str = "") -> subprocess.Popen[bytes]:
    """A server in a process of its own, whose job has started processes that hide."""
    (folder / "marks").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    server = subprocess.Popen([sys.executable, "-c", SERVER, TARGETS[0], str(folder), owner], env=environment)
    with asyncio.Runner() as loop:
        bench = Bench(folder, LocalExecutor([]), loop)
        bench.do(asyncio.wait_for(bench.mark("pid"), 60))
    return server


def test_a_server_ends_what_an_earlier_one_and_its_fork_server_left_when_both_were_killed(tmp_path: Path) -> None:
    owner = uuid.uuid4().hex
    server = server_at_work(tmp_path, owner)
    # Stands still, so that it notices nothing.
    server.send_signal(signal.SIGSTOP)
    (fork_server,) = psutil.Process(server.pid).children()
    fork_server.kill()
    server.kill()
    server.wait()
    left = int((tmp_path / "marks" / "grandchild").read_text())
    assert is_alive(left)
    with asyncio.Runner() as loop:
        executor = LocalExecutor(TARGETS[:1], owner=owner)
        loop.run(executor.start())
        assert not is_alive(left)
        loop.run(executor.close())


def test_nothing_is_left_when_the_server_is_killed(tmp_path: Path) -> None:
    server = server_at_work(tmp_path)
    family = psutil.Process(server.pid).children(recursive=True)
    assert len(family) >= 3
    server.kill()
    server.wait()
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []
    assert not is_alive(int((tmp_path / "marks" / "grandchild").read_text()))


def test_nothing_is_left_after_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "marks").mkdir()
    variable = f"MARK_{uuid.uuid4().hex}"
    monkeypatch.setenv(variable, "x")
    with asyncio.Runner() as loop:
        bench = Bench(tmp_path, LocalExecutor(TARGETS[:1]), loop)

        async def main() -> object:
            running = asyncio.create_task(bench.go(bench.training("escapee")))
            await bench.mark("pid")
            assert len(carrying(variable)) >= 4
            await bench.executor.close()
            return await running

        outcome = bench.do(main())
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, WorkerLost)
        assert carrying(variable) == []
        assert isinstance(bench.run(bench.training("return")), Failed)


@pytest.mark.parametrize(
    ("module", "message"),
    [("1 / 0", "ZeroDivisionError"), ("import os; os._exit(4)", "status 4"), ("runner = 7", "neither a runner nor a predictor")],
)
def test_runners_that_cannot_be_loaded_are_told_at_the_start(tmp_path: Path, module: str, message: str) -> None:
    (tmp_path / "broken.py").write_text(module)
    executor = LocalExecutor([f"{tmp_path / 'broken.py'}:runner"])
    with pytest.raises(WorkerLost, match=message):
        asyncio.run(executor.start())


def test_a_start_that_failed_is_tried_again_for_the_next_job(tmp_path: Path) -> None:
    (tmp_path / "mended.py").write_text("1 / 0")
    with asyncio.Runner() as loop:
        bench = Bench(tmp_path, LocalExecutor([f"{tmp_path / 'mended.py'}:runner"]), loop)
        outcome = bench.run(bench.training("return", config={"value": 1}))
        assert isinstance(outcome, Failed)
        assert outcome.error.reason == "WORKER_LOST"
        (tmp_path / "mended.py").write_bytes(ZOO.read_bytes())
        assert isinstance(bench.run(bench.training("return", config={"value": 1})), Completed)
        loop.run(bench.executor.close())


MODULE = """
import os, random, subprocess, sys
import numpy
from modelwire_runners import FunctionalModelRunner, RunnerInfo
random.seed(7)
numpy.random.seed(7)
helper = subprocess.Popen(["sleep", "1000"])
print("from the import", end="")

def train(config, data, geo=None):
    return random.random(), float(numpy.random.random()), helper.pid

def predict(config, model, historic, future, geo=None):
    return future

runner = FunctionalModelRunner(on_train=train, on_predict=predict, info=RunnerInfo(id="zoo"))
"""


def test_what_a_module_does_when_imported_holds_for_every_job(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(MODULE)
    with asyncio.Runner() as loop:
        bench = Bench(tmp_path, LocalExecutor([f"{tmp_path / 'module.py'}:runner"]), loop)
        first, second = (bench.run(bench.training("")) for _ in range(2))
        assert isinstance(first, Completed)
        assert isinstance(second, Completed)
        chosen, seeded, helper = load(first.made.path)
        assert load(second.made.path) == (chosen, seeded, helper)
        assert chosen == pytest.approx(0.32383, abs=1e-5)
        assert bench.texts("stdout") == []
        assert is_alive(helper)
        loop.run(bench.executor.close())
        assert not is_alive(helper)


def test_the_fork_server_is_light() -> None:
    code = "import sys, modelwire_server.execution.forkserver; print({'grpc', 'sqlalchemy'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
