"""Hours in minutes: whether a server's memory grows while models are reloaded over and over under load."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import numpy as np
from rich.progress import track
from scipy import stats

from .. import wire
from ..load import Report, begun, finished
from ..machine import busy
from ..peer import Place, Question, Running, Works, started
from ..peers.modelwire import Modelwire, model_of, train, unary
from ..results import Figures, Section
from ..work import Work, ask
from .unary import one_row_each

UNLOAD = "/inference.GRPCInferenceService/RepositoryModelUnload"
# Of RepositoryModelUnloadRequest.
MODEL_NAME = 2
RATE = 200
# What a server has not used yet it takes first; growth is looked for after this share of the time.
SETTLING = 1 / 3
# Neighbouring samples are alike: the confidence is that of their means over this many spans of time.
SPANS = 40
MEBIBYTE = 1 << 20
# So often a call is made again that is refused.
MOST_REFUSALS = 10


@dataclass
class Memory:
    """Resident bytes over seconds: of the process that serves, and of all processes together."""

    seconds: list[float] = field(default_factory=list)
    serving: list[int] = field(default_factory=list)
    together: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Slope:
    """By least squares, in bytes an hour; the true one is within `margin` of it with 95 % confidence."""

    per_hour: float
    margin: float

    @classmethod
    def of(cls, seconds: list[float], values: list[int]) -> "Slope":
        settled = np.array([(at, value) for at, value in zip(seconds, values, strict=True) if at >= SETTLING * seconds[-1]])
        spans = np.array([span.mean(axis=0) for span in np.array_split(settled, min(SPANS, len(settled)))])
        line = stats.linregress(spans[:, 0], spans[:, 1])
        margin = stats.t.ppf(0.975, len(spans) - 2) * line.stderr
        return cls(3600 * line.slope, 3600 * margin)


def soak(minutes: float, reloads: int) -> Section:
    """Serves for so long, with so many reloads spread over it."""
    load, question = busy(), one_row_each()
    steady, reloaded = "steady", "reloaded"

    def works(place: Place) -> Works:
        return {steady: unary(place, train(place), question), reloaded: unary(place, train(place), few(question))}

    with started(Modelwire(), question.columns, works) as running:
        asked = running.works[steady]
        with begun(asked, in_flight=16, seconds=60 * minutes, warm_up=0, rate=RATE) as process, watched(running) as memory:
            slowest, refused = _reload(running.works[reloaded], minutes, reloads)
            report = finished(asked, process)
    return Section(
        name="soak",
        title=f"{minutes:g} minutes with {reloads:,} reloads of a model",
        how=(
            f"One process answers {RATE} calls/s of one model; another is unloaded and asked again {reloads:,} times meanwhile, evenly "
            "spread, and its answers are checked. Memory is looked at each second. The slope is that of least squares after the first "
            f"{SETTLING:.0%} of the time, with 95 % confidence (over the means of {SPANS} spans of time)."
        ),
        tables=[_table(memory), _calls(report, reloads, slowest, refused)],
        busy=load,
    )


def few(question: Question) -> Question:
    return Question(question.rows[:2], question.expected[:2])


def _reload(work: Work, minutes: float, reloads: int) -> tuple[float, int]:
    """Unloads and asks; returns how long the slowest reload with its predictions took, and how often calls were refused for a while."""
    name = model_of(work)
    apart, slowest, refused, first = 60 * minutes / reloads, 0.0, 0, time.monotonic()
    with grpc.insecure_channel(work.target) as channel:
        unload: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(UNLOAD)
        for number in track(range(reloads), "reloads"):
            time.sleep(max(0.0, first + number * apart - time.monotonic()))
            began = time.monotonic()
            refused += _patiently(lambda: unload(wire.field(MODEL_NAME, name), timeout=60))
            refused += _patiently(lambda: ask(work))
            slowest = max(slowest, time.monotonic() - began)
    return slowest, refused


def _patiently(act: Callable[[], object]) -> int:
    """Does it, again where a server that has fallen behind says so; returns how often it did. A machine that stands still for seconds
    lets a rate become a burst."""
    for refusals in range(MOST_REFUSALS):
        try:
            act()
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            time.sleep(1)
        else:
            return refusals
    raise RuntimeError(f"refused {MOST_REFUSALS} times")


@contextmanager
def watched(running: Running) -> Iterator[Memory]:
    """The memory of the server, until the block ends."""
    memory, over = Memory(), threading.Event()
    thread = threading.Thread(target=_watch, args=(running, memory, over))
    thread.start()
    try:
        yield memory
    finally:
        over.set()
        thread.join()


def _watch(running: Running, memory: Memory, over: threading.Event) -> None:
    first = time.monotonic()
    while not over.wait(1):
        serving, together = running.processes.resident_bytes()
        memory.seconds.append(time.monotonic() - first)
        memory.serving.append(serving)
        memory.together.append(together)


def _table(memory: Memory) -> Figures:
    columns = [
        "memory",
        "at the start, MiB",
        "when settled",
        "at the end",
        "most",
        "slope, MiB an hour",
        "with 95 % confidence",
        "samples",
    ]
    shown = {"the process that serves": memory.serving, "all processes": memory.together}
    return Figures(columns, [_row(name, memory.seconds, values) for name, values in shown.items()])


def _row(name: str, seconds: list[float], values: list[int]) -> list[str]:
    slope = Slope.of(seconds, values)
    settled = next(value for at, value in zip(seconds, values, strict=True) if at >= SETTLING * seconds[-1])
    sizes = [f"{value / MEBIBYTE:.1f}" for value in (values[0], settled, values[-1], max(values))]
    low, high = ((slope.per_hour + sign * slope.margin) / MEBIBYTE for sign in (-1, 1))
    return [name, *sizes, f"{slope.per_hour / MEBIBYTE:+.2f}", f"{low:+.2f} to {high:+.2f}", f"{len(values):,}"]


def _calls(report: Report, reloads: int, slowest: float, refused: int) -> Figures:
    columns = ["calls meanwhile", "calls", "p50 ms", "p99 ms", "slowest ms", "errors"]
    ok = report.ok
    steady = ["of the model that stays", f"{ok.calls:,}", f"{ok.p50:.2f}", f"{ok.p99:.2f}", f"{ok.max:.0f}", f"{report.failed:,}"]
    told = f"0, {refused:,} made again" if refused else "0"
    return Figures(columns, [steady, ["reloads, each with 2 predictions", f"{reloads:,}", "", "", f"{1000 * slowest:.0f}", told]])
