"""The load generator: built from benchmarks/load, run on cores of its own."""

import base64
import json
import os
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .machine import BENCH, Host, on_load_cores
from .work import Work

SOURCE = Path(__file__).parents[1] / "load"
PROGRAM = BENCH / "load"
# What is measured while the host takes more of the cores' time than this for others is measured again, so often at most.
CALM, ATTEMPTS = 0.03, 6
# More connections than that are as good as that, and few enough for every server.
MOST_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Outcome:
    """Calls that ended in the same way. Times are in milliseconds; `slices` are calls for each slice of time."""

    calls: int = 0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    max: float = 0.0
    slices: tuple[int, ...] = ()
    retry_info: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What the generator saw. `cores` is what it used itself."""

    seconds: float
    per_second: float
    cores: float
    skipped: int
    outcomes: dict[str, Outcome]
    # The most memory of the server, where it was looked at.
    peak_bytes: int = 0
    # Cores that the server kept busy, warm-up included, where it was looked at.
    server_cores: float = 0.0
    # The share of the time of the cores that the host took for others.
    taken: float = 0.0

    @property
    def ok(self) -> Outcome:
        return self.outcomes.get("OK", Outcome())

    @property
    def failed(self) -> int:
        return sum(outcome.calls for name, outcome in self.outcomes.items() if name != "OK")


def build() -> None:
    """Builds the generator unless it is there. Raises OSError, CalledProcessError: without Go there is none."""
    newest = max(path.stat().st_mtime for path in SOURCE.iterdir())
    if PROGRAM.exists() and PROGRAM.stat().st_mtime > newest:
        return
    go = shutil.which("go")
    if go is None:
        raise FileNotFoundError("the load generator needs Go 1.19 or newer to be built")
    BENCH.mkdir(exist_ok=True)
    subprocess.run([go, "build", "-o", str(PROGRAM), "."], cwd=SOURCE, check=True)


def run(
    work: Work, *, in_flight: int = 1, seconds: float = 3, warm_up: float = 1, attempts: int = ATTEMPTS, **options: Any
) -> Report:
    """Calls a server and checks the answers that it gave under load, in the calmest of some attempts. Raises WrongAnswerError."""
    reports: list[Report] = []
    while len(reports) < attempts and not (reports and reports[-1].taken <= CALM):
        if reports:  # the host may be busy for a while
            time.sleep(_pause(len(reports)))
        host = Host()
        with begun(work, in_flight=in_flight, seconds=seconds, warm_up=warm_up, **options) as process:
            report = finished(work, process)
        reports.append(replace(report, taken=host.taken()))
    return min(reports, key=lambda report: report.taken)


def most_seconds(seconds: float, warm_up: float) -> float:
    """How long run() may take."""
    return ATTEMPTS * (seconds + warm_up + 1) + sum(_pause(attempt) for attempt in range(1, ATTEMPTS))


def _pause(attempts: int) -> float:
    return 2.0**attempts


@contextmanager
def begun(work: Work, *, in_flight: int, seconds: float, warm_up: float, connections: int = 0, **options: Any) -> Iterator[Any]:
    """The generator at work; for what is to be done meanwhile. `options` are those of the generator, with their own names."""
    with tempfile.NamedTemporaryFile(dir=BENCH, suffix=".requests") as file:
        _write(file, [*work.preamble, *work.messages])
        command = [str(PROGRAM), work.mode, f"-target={work.target}", f"-method={work.method}", f"-requests={file.name}"]
        command += [f"-content-type={work.content_type}", f"-preamble={len(work.preamble)}", f"-in-flight={in_flight}"]
        command += [f"-group={len(work.messages) if work.whole else 1}", f"-duration={seconds}s", f"-warm-up={warm_up}s"]
        command += [f"-connections={connections or min(in_flight, MOST_CONNECTIONS)}", *work.options]
        command += [f"-{name.replace('_', '-')}={value}" for name, value in options.items()]
        with on_load_cores(lambda: subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)) as process:
            try:
                yield process
            finally:
                process.kill()


def finished(work: Work, process: subprocess.Popen[bytes]) -> Report:
    """Waits for the generator, and checks the answers that it has kept. Raises WrongAnswerError, RuntimeError."""
    output, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(errors.decode().strip())
    said = json.loads(output)
    work.check({int(number): base64.b64decode(answer) for number, answer in said.pop("answers").items()})
    outcomes = {name: Outcome(**{**one, "slices": tuple(one["slices"] or ())}) for name, one in said.pop("outcomes").items()}
    return Report(outcomes=outcomes, **said)


def _write(file: Any, messages: Iterable[bytes]) -> None:
    for message in messages:
        file.write(struct.pack("<I", len(message)))
        file.write(message)
    file.flush()
    os.fsync(file.fileno())
