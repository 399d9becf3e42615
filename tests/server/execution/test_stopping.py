"""Jobs that are stopped, whatever they do, and the processes that they leave."""

import asyncio
import time
from collections.abc import Sequence

import pytest
from job_bench import Bench, is_alive

from modelwire_server.execution.interface import Completed, Failed, Stopped
from modelwire_server.jobs.model import NewEvent


def stopped_after(bench: Bench, do: str, mark: str) -> float:
    """Seconds that it takes to stop a job that has made a mark."""
    begin = 0.0

    def cancel() -> None:
        nonlocal begin
        begin = time.monotonic()
        bench.cancel()

    outcome = bench.do(bench.run_until(bench.training(do), mark, cancel))
    assert outcome == Stopped()
    return time.monotonic() - begin


@pytest.mark.parametrize("do", ["cooperate", "check"])
def test_work_that_cooperates_ends_by_itself(bench: Bench, do: str) -> None:
    # Before the first signal, that is, if not the machine is busy just then.
    assert any(stopped_after(bench, do, "pid") < 0.4 for _ in range(3))


def test_work_that_cooperates_ends_in_good_order(bench: Bench) -> None:
    stopped_after(bench, "cooperate", "pid")
    assert (bench.marks / "ended").read_text() == "in good order"


@pytest.mark.parametrize("do", ["loop_in_c", "regex"])
def test_a_loop_in_c_is_stopped(bench: Bench, do: str) -> None:
    assert stopped_after(bench, do, "pid") < 2


@pytest.mark.parametrize("do", ["grandchild", "escapee", "forked_escapee"])
def test_no_process_of_a_stopped_job_is_left(bench: Bench, do: str) -> None:
    assert stopped_after(bench, do, "pid") < 5
    for name in ("pid", "grandchild"):
        assert not is_alive(int((bench.marks / name).read_text()))


@pytest.mark.parametrize("do", ["leave_grandchild", "leave_escapee", "leave_forked_escapee"])
def test_no_process_of_a_completed_job_is_left(bench: Bench, do: str) -> None:
    assert isinstance(bench.run(bench.training(do)), Completed)
    assert not is_alive(int((bench.marks / "grandchild").read_text()))


def test_the_end_of_one_job_leaves_the_processes_of_another_alone(bench: Bench) -> None:
    async def main() -> None:
        running = asyncio.create_task(bench.go(bench.training("escapee")))
        grandchild = int(await bench.mark("grandchild"))
        bench_of_other = Bench(bench.folder, bench.executor, bench.loop, numbers=bench.numbers)
        assert isinstance(await bench_of_other.go(bench.training("leave_grandchild")), Completed)
        assert is_alive(grandchild)
        bench.cancel()
        assert await running == Stopped()
        assert not is_alive(grandchild)

    bench.do(main())


def test_no_process_is_left_when_run_is_canceled(bench: Bench) -> None:
    async def main() -> None:
        running = asyncio.create_task(bench.go(bench.training("escapee")))
        await bench.mark("pid")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    bench.do(main())
    for name in ("pid", "grandchild"):
        assert not is_alive(int((bench.marks / name).read_text()))


def test_a_stop_before_the_start(bench: Bench) -> None:
    bench.cancel()
    assert bench.run(bench.training("loop_in_c")) == Stopped()


def test_a_report_that_fails_ends_the_job(bench: Bench) -> None:
    async def report(events: Sequence[NewEvent]) -> None:
        if any(event.data.get("text") == "line 0" for event in events):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        bench.run(bench.training("many_lines", config={"value": 10_000_000}), report)


def test_a_job_whose_reports_are_slow_can_be_stopped(bench: Bench) -> None:
    async def main() -> None:
        flooded, go_on = asyncio.Event(), asyncio.Event()

        async def report(events: Sequence[NewEvent]) -> None:
            if any("line" in event.data.get("text", "") for event in events):
                flooded.set()
                await go_on.wait()

        running = asyncio.create_task(bench.go(bench.training("many_lines", config={"value": 10_000_000}), report))
        await flooded.wait()
        bench.cancel()
        go_on.set()
        assert await running == Stopped()

    bench.do(main())


def test_the_deadline_leaves_nothing_behind(bench: Bench) -> None:
    outcome = bench.run(bench.training("escapee", timeout=0.5))
    assert isinstance(outcome, Failed)
    assert outcome.error.reason == "DEADLINE_EXCEEDED"
    assert not is_alive(int((bench.marks / "grandchild").read_text()))
