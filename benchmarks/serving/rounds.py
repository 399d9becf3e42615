"""Rounds: every server has its turn in each of them, so that whatever else the machine does meets them all."""

import statistics
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import grpc
from rich.console import Console

from .environment import NotInstalledError
from .load import Report
from .machine import busy
from .peer import NotRunningError, Peer, Question, Running, started
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

# What is measured in one turn of a server: reports by the name of the subject and what was varied.
Measured = dict[tuple[str, int], Report]


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

    def add(self, measured: Measured) -> None:
        for key, report in measured.items():
            self.series.setdefault(key, Series()).reports.append(report)


def rounds(peers: Sequence[Peer], question: Question, count: int, measure: Callable[[Running], Measured]) -> Results:
    """So many turns for each of the servers, each of which starts anew for its turn and has checked its answers before."""
    results = Results()
    for number in range(count):
        for peer in _in_turn(peers, number):
            if peer.name not in results.missing:
                _turn(peer, question, measure, results)
    return results


def _in_turn(peers: Sequence[Peer], number: int) -> Iterable[Peer]:
    """Back and forth: none always comes after the same other one."""
    return peers if number % 2 == 0 else reversed(peers)


def _turn(peer: Peer, question: Question, measure: Callable[[Running], Measured], results: Results) -> None:
    console = Console(stderr=True)
    try:
        with console.status(peer.name), started(peer, question) as running:
            measured = measure(running)
    except (*TROUBLES, grpc.RpcError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        results.missing[peer.name] = lines[0]
        console.print(f"{peer.name}: {lines[0]}")
        return
    for (subject, level), report in measured.items():
        console.print(f"{subject} ({level}): {report.per_second:,.0f}/s, p99 {report.ok.p99:.2f} ms", highlight=False)
    results.add(measured)
