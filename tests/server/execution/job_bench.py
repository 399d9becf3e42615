"""A bench to run jobs on: real fork servers, real processes."""

import asyncio
import hashlib
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle
import psutil
import pyarrow as pa

from modelwire_server.artifacts.model import Blob
from modelwire_server.execution.interface import JobSpec, Outcome, Report, StopReason, StopSignal
from modelwire_server.execution.local import LocalExecutor
from modelwire_server.jobs.model import EventKind, JobKind, NewEvent

ZOO = Path(__file__).parent / "runners" / "zoo.py"
TARGETS = [f"{ZOO}:{name}" for name in ("runner", "later", "short_of_memory", "short_of_cpu", "short_of_time")]


@dataclass
class Bench:
    """Makes jobs and runs them. `marks` is where runners tell what they have done."""

    folder: Path
    executor: LocalExecutor
    loop: asyncio.Runner
    events: list[NewEvent] = field(default_factory=list)
    stop: StopSignal = field(default_factory=StopSignal)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def marks(self) -> Path:
        return self.folder / "marks"

    def frame(self, table: pa.Table) -> Path:
        path = self.folder / f"frame-{next(self.numbers)}.arrow"
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
        return path

    def stored(self, content: bytes) -> tuple[Path, Blob]:
        path = self.folder / f"blob-{next(self.numbers)}"
        path.write_bytes(content)
        return path, Blob(f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))

    def training(self, do: str, *, runner: str = "zoo", data: pa.Table | None = None, **fields: Any) -> JobSpec:
        number = next(self.numbers)
        config = {"do": do, **fields.pop("config", {})}
        run_info = {"marks": str(self.marks), **fields.pop("run_info", {})}
        return JobSpec(
            job_id=f"job-{number}",
            attempt=1,
            kind=JobKind.TRAIN,
            runner_id=runner,
            config=config,
            frames={"data": self.frame(pa.table({"x": [1, 2, 3]}) if data is None else data)},
            run_info=run_info,
            folder=self.folder / f"job-{number}",
            **fields,
        )

    def predicting(self, do: str, future: pa.Table, model: Path, blob: Blob) -> JobSpec:
        number = next(self.numbers)
        return JobSpec(
            job_id=f"job-{number}",
            attempt=1,
            kind=JobKind.PREDICT,
            runner_id="zoo",
            config={"do": do},
            frames={"historic": self.frame(future.slice(0, 0)), "future": self.frame(future)},
            model=model,
            model_blob=blob,
            folder=self.folder / f"job-{number}",
        )

    async def report(self, events: Sequence[NewEvent]) -> None:
        self.events += events

    async def go(self, spec: JobSpec, report: Report | None = None) -> Outcome:
        """Runs a job on the running loop."""
        return await self.executor.run(spec, report or self.report, self.stop)

    def run(self, spec: JobSpec, report: Report | None = None) -> Outcome:
        return self.do(self.go(spec, report))

    def do(self, work: Awaitable[Any]) -> Any:
        async def main() -> Any:
            return await work

        return self.loop.run(main())

    async def mark(self, name: str) -> str:
        """Waits until a runner has made the mark."""
        while not (self.marks / name).exists():  # noqa: ASYNC110 - the mark comes from another process
            await asyncio.sleep(0.005)
        return (self.marks / name).read_text()

    async def run_until(self, spec: JobSpec, name: str, then: Callable[[], Any]) -> Outcome:
        """Runs a job, and does something once it has made a mark."""
        running = asyncio.ensure_future(self.go(spec))
        await self.mark(name)
        then()
        return await running

    def cancel(self) -> None:
        self.stop.set(StopReason.CANCELED)

    def texts(self, source: str) -> list[str]:
        return [event.data["text"] for event in self.events if event.kind is EventKind.LOG and event.data["source"] == source]

    def of_kind(self, kind: EventKind) -> list[dict[str, Any]]:
        return [event.data for event in self.events if event.kind is kind]


def load(path: Path) -> Any:
    return cloudpickle.loads(path.read_bytes())


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def carrying(variable: str) -> list[int]:
    """The processes that have inherited the variable, wherever they have gone."""
    return [process.pid for process in psutil.process_iter() if _carries(process, variable)]


def _carries(process: psutil.Process, variable: str) -> bool:
    try:
        return variable in process.environ()
    except psutil.Error:
        return False


def write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path
