"""A worker killed under load: which calls fail, how soon another is there, and what callers of the client notice."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

from modelwire import Client, ModelwireError

from ..load import Outcome, Report, begun, finished, run
from ..machine import busy, on_load_cores
from ..peer import Place, Question, Running, Works, started
from ..peers.modelwire import ModelwireWorkers, frame, model_of, train, unary
from ..process import kill
from ..results import Figures, Section
from . import Plan
from .unary import one_row_each

WORKER = re.compile(r"modelwire \d+")
IN_FLIGHT = 16
CALLERS = 2
SECONDS, KILLED_AFTER = 8.0, 3.0
SLICE_SECONDS = 0.1
LONGEST_SECONDS = 20.0


@dataclass
class Callers:
    """What callers with the client of ours saw."""

    calls: int = 0
    failed: list[str] = field(default_factory=list)
    wrong: int = 0
    slowest: float = 0.0


@dataclass(frozen=True)
class Killing:
    """One worker's end."""

    report: Report
    after: Report
    replaced_seconds: float
    callers: Callers

    @property
    def troubled_seconds(self) -> float:
        """From the kill to the end of the last slice in which a call failed."""
        slices = [number for outcome in self._failures() for number, calls in enumerate(outcome.slices, 1) if calls]
        return max(0.0, max(slices, default=0) * SLICE_SECONDS - KILLED_AFTER)

    @property
    def usual(self) -> float:
        """Calls per second before the kill, without the first second."""
        slices = self.report.ok.slices[int(1 / SLICE_SECONDS) : int(KILLED_AFTER / SLICE_SECONDS)]
        return sum(slices) / len(slices) / SLICE_SECONDS

    def _failures(self) -> list[Outcome]:
        return [outcome for name, outcome in self.report.outcomes.items() if name != "OK"]


def killed(plan: Plan) -> Section:
    load, question = busy(), one_row_each()
    every = [_round(question) for _ in range(plan.rounds)]
    return Section(
        name="killed",
        title="A worker killed under load",
        how=(
            f"--workers 2, {IN_FLIGHT} calls in flight on as many connections, without retries. After {KILLED_AFTER:g} s one worker is "
            f"killed with SIGKILL. It is replaced once another process of its name listens. Beside them {CALLERS} callers with the "
            "client of ours, which retries."
        ),
        tables=[Figures(COLUMNS, [_row(str(number), one) for number, one in enumerate(every, 1)])],
        busy=load,
    )


def _round(question: Question) -> Killing:
    with started(ModelwireWorkers(), question.columns, lambda place: _works(place, question)) as running:
        work = running.works["modelwire"]
        with (
            begun(
                work, in_flight=IN_FLIGHT, connections=IN_FLIGHT, seconds=SECONDS, warm_up=0, slice=f"{SLICE_SECONDS}s"
            ) as process,
            calling(running, model_of(work), question) as callers,
        ):
            time.sleep(KILLED_AFTER)
            seconds = _replaced(running)
            report = finished(work, process)
        after = run(work, in_flight=IN_FLIGHT, connections=IN_FLIGHT, seconds=KILLED_AFTER, warm_up=0.5)
        return Killing(report, after, seconds, callers)


def _works(place: Place, question: Question) -> Works:
    return {"modelwire": unary(place, train(place), question)}


def _replaced(running: Running) -> float:
    """Kills a worker, and says after how many seconds another of its name listened."""
    workers = {process.name(): process for process in running.processes.all() if WORKER.fullmatch(process.name())}
    name, victim = min(workers.items())
    at = time.monotonic()
    kill(victim.pid)
    while (waited := time.monotonic() - at) < LONGEST_SECONDS:
        new = [process for process in running.processes.all() if process.pid != victim.pid and _name(process) == name]
        if any(_listens(process, running.place.port) for process in new):
            return waited
        time.sleep(0.02)
    return float("inf")


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def _listens(process: psutil.Process, port: int) -> bool:
    connections = process.net_connections("tcp")
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections)


@contextmanager
def calling(running: Running, model: str, question: Question) -> Iterator[Callers]:
    """Callers with our client, until the block ends."""
    seen, over = Callers(), threading.Event()
    threads = [threading.Thread(target=_call, args=(running, model, question, seen, over)) for _ in range(CALLERS)]
    on_load_cores(lambda: _start(threads))
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _start(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()


def _call(running: Running, model: str, question: Question, seen: Callers, over: threading.Event) -> None:
    asked = [(frame(row), expected) for row, expected in question.single()]
    with Client(running.place.address) as client:
        handle = client.models.get(model)
        while not over.is_set():
            row, expected = asked[seen.calls % len(asked)]
            begun_at = time.monotonic()
            seen.calls += 1
            try:
                seen.wrong += handle.predict(row)["prediction"].to_pylist() != expected
            except ModelwireError as error:
                seen.failed.append(str(error))
            seen.slowest = max(seen.slowest, time.monotonic() - begun_at)


COLUMNS = [
    "round",
    "calls/s before",
    "failed calls",
    "failures until, s after",
    "replaced after, s",
    "calls/s on new connections",
    "calls of our client",
    "of these failed",
    "wrong",
    "its slowest call, ms",
]


def _row(name: str, one: Killing) -> list[str]:
    kinds = ", ".join(f"{outcome.calls} {code}" for code, outcome in one.report.outcomes.items() if code != "OK")
    return [
        name,
        f"{one.usual:,.0f}",
        kinds or "0",
        f"{one.troubled_seconds:.1f}",
        f"{one.replaced_seconds:.2f}",
        f"{one.after.per_second:,.0f}",
        f"{one.callers.calls:,}",
        f"{len(one.callers.failed)}",
        f"{one.callers.wrong}",
        f"{1000 * one.callers.slowest:.0f}",
    ]
