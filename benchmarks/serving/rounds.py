"""Rounds: every server has its turn in each of them, so that whatever else the machine does meets them all."""

import statistics
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import grpc
from rich.console import Console

from .environment import NotInstalledError
from .load import Report
from .machine import busy
from .peer import NotRunningError, Peer, Place, Running, Works, started
from .process import ServerEndedError
from .work import WrongAnswerError

TROUBLES = (
    NotInstalledError,
    NotRunningError,
    ServerEndedError,
    WrongAnswerError,
    RuntimeError,
    OSError,
    subprocess.CalledProcessError,
)

# What is measured in one turn of a server: reports by the line of the table and what was varied.
Measured = dict[tuple[str, int], Report]


@dataclass(frozen=True)
class Server:
    """A server, and what it is asked for."""

    name: str
    peer: Peer
    works: Callable[[Place], Works]


# Servers that are up together, as they are measured closely beside each other.
Turn = Sequence[Server]


@dataclass
class Series:
    """Every report of a subject at one level, one for each round."""

    reports: list[Report] = field(default_factory=list)

    def median(self, value: Callable[[Report], float]) -> float:
        return statistics.median(value(report) for report in self.reports)

    @property
    def per_second(self) -> float:
        return self.median(lambda report: report.per_second)

    @property
    def slowest_round(self) -> float:
        return min(report.per_second for report in self.reports)

    @property
    def p50(self) -> float:
        return self.median(lambda report: report.ok.p50)

    @property
    def p99(self) -> float:
        return self.median(lambda report: report.ok.p99)

    @property
    def longest(self) -> float:
        """The slowest call of all rounds."""
        return max(report.ok.max for report in self.reports)

    @property
    def failed(self) -> int:
        return sum(report.failed for report in self.reports)


@dataclass
class Results:
    """What came out of all rounds; `missing` has the reason of each server that could not be measured."""

    series: dict[tuple[str, int], Series] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    busy_at_start: float = field(default_factory=busy)

    def subjects(self) -> list[str]:
        return list(dict.fromkeys(subject for subject, _ in self.series))

    def ratio(self, over: str, under: str, level: int) -> float | None:
        """How many times the calls per second of the second the first answers; None if one of them was not measured."""
        try:
            return self.series[over, level].per_second / self.series[under, level].per_second
        except (KeyError, ZeroDivisionError):
            return None

    def share(self, over: str, under: str, level: int) -> str:
        ratio = self.ratio(over, under, level)
        return "" if ratio is None else f"{100 * ratio:.0f} %"

    def times(self, over: str, under: str, level: int) -> str:
        ratio = self.ratio(over, under, level)
        return "" if ratio is None else f"{ratio:.2f} x"

    @property
    def taken(self) -> list[float]:
        """What the host took of the time of the cores, in the middle and at most."""
        shares = [report.taken for one in self.series.values() for report in one.reports]
        return [statistics.median(shares), max(shares)] if shares else []

    def add(self, measured: Measured) -> None:
        for key, report in measured.items():
            self.series.setdefault(key, Series()).reports.append(report)


def rounds(turns: Sequence[Turn], columns: int, count: int, measure: Callable[[Sequence[Running]], Measured]) -> Results:
    """So many rounds of turns. Servers start anew for their turn, and have checked their answers before they are measured."""
    results = Results()
    for number in range(count):
        # Back and forth: none always comes after the same other one.
        step = 1 if number % 2 == 0 else -1
        for turn in turns[::step]:
            if not any(server.name in results.missing for server in turn):
                _take(turn[::step], columns, measure, results)
    return results


def _take(turn: Turn, columns: int, measure: Callable[[Sequence[Running]], Measured], results: Results) -> None:
    console = Console(stderr=True)
    names = ", ".join(server.name for server in turn)
    try:
        with console.status(names), ExitStack() as stack:
            measured = measure([stack.enter_context(started(server.peer, columns, server.works)) for server in turn])
    except (*TROUBLES, grpc.RpcError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        results.missing.update((server.name, lines[0]) for server in turn)
        console.print(f"{names}: {lines[0]}", highlight=False)
        return
    for (subject, level), report in measured.items():
        told = f"{report.per_second:,.0f}/s, p99 {report.ok.p99:.2f} ms; the host took {report.taken:.1%}"
        console.print(f"{subject} ({level}): {told}", highlight=False)
    results.add(measured)
