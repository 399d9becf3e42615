"""Workers keep to cores of their own where there is one for each, and models stand back if they are to."""

import os
from pathlib import Path

import psutil
import pytest
from serving import RUNNERS, ServerProcess

from modelwire import Client

TARGET = f"{RUNNERS / 'affinity.py'}:runner"
TWO = sorted(os.sched_getaffinity(0))[:2]


def cores_of(server: ServerProcess) -> dict[str, list[int]]:
    """By the name of the process, the cores of its first thread."""
    children = server.process.children(recursive=True)
    return {
        child.name(): sorted(psutil.Process(child.pid).cpu_affinity())
        for child in children
        if child.name().startswith("modelwire ")
    }


def predicted_by(server: ServerProcess) -> dict[str, int]:
    with Client(server.target) as client:
        model = client.train(client.configs.create("cores", {}).id, {"x": [1.0]}).wait(timeout=30)
        (row,) = client.predict(model, {"x": [1.0]}).to_pylist()
    return row


@pytest.mark.skipif(len(TWO) < 2, reason="needs two cores")
@pytest.mark.parametrize(
    ("workers", "pinned", "expected"),
    [
        (2, True, [[TWO[0]], [TWO[-1]]]),
        (2, False, [TWO, TWO]),
        (3, True, [TWO, TWO, TWO]),
    ],
)
def test_as_many_workers_as_cores(tmp_path: Path, workers: int, pinned: bool, expected: list[list[int]]) -> None:
    on_two = ["taskset", "--cpu-list", ",".join(map(str, TWO))]
    with ServerProcess(TARGET, data_dir=tmp_path, inside=on_two, workers=workers, pin_workers=pinned) as server:
        predicted = predicted_by(server)
        cores = cores_of(server)
        assert [cores[f"modelwire {number}"] for number in range(1, workers + 1)] == expected
        # Jobs, and models that are called in threads, have all.
        assert cores["modelwire jobs"] == TWO
        assert predicted["cores"] == len(TWO)


@pytest.mark.parametrize(("models_yield", "policy"), [(True, os.SCHED_IDLE), (False, os.SCHED_OTHER)])
def test_models_that_yield_leave_the_core_to_others(tmp_path: Path, models_yield: bool, policy: int) -> None:
    with ServerProcess(TARGET, data_dir=tmp_path, models_yield=models_yield) as server:
        assert predicted_by(server)["policy"] == policy
        assert os.sched_getscheduler(server.process.pid) == os.SCHED_OTHER
