"""One row a call, as fast as answers come: the comparison of servers."""

import time
from collections.abc import Sequence
from dataclasses import replace

from .. import sample
from ..load import Report, run
from ..peer import Peer, Question, Running
from ..results import Figures, Section
from ..rounds import Measured, Results, Server, Turn, rounds
from ..work import Work
from . import Plan

LEVELS = (1, 16, 64)
LIMIT, OURS = "echo", "modelwire"
# What the names of lines with two workers have more.
WORKERS = ", 2 workers"


def unary(plan: Plan) -> Section:
    question = one_row_each()
    peers = [peer for peer in plan.peers if type(peer).calls is not Peer.calls]
    results = rounds(_turns(peers, question), question.columns, plan.rounds, lambda turn: _turn(turn, plan))
    return Section(
        name="unary",
        title="One row of 4 doubles a call",
        how=(
            "StandardScaler and LogisticRegression of scikit-learn, one server against one, each over its fastest protocol. "
            f"{plan.rounds} rounds in turn, {plan.seconds:g} s for each figure after {plan.warm_up:g} s of warm-up; servers are started "
            f"anew for each round. Those of {LIMIT} and {OURS}, whose lines are told as multiples of each other, are up together and "
            "asked one right after the other. All answers, those under load included, are held against the model's."
        ),
        tables=[_rates(results), _latencies(results), _beside_the_best(results)],
        notes=notes(peers, results),
        busy=results.busy_at_start,
        taken=results.taken,
    )


def one_row_each() -> Question:
    rows = sample.asked()
    return Question(rows, sample.trained().predict(rows))


def _turns(peers: Sequence[Peer], question: Question) -> list[Turn]:
    """The speed of a machine changes within minutes, by more than what is told of ours beside each other and beside the limit."""
    servers = [Server(peer.name, peer, lambda place, peer=peer: peer.calls(place, question)) for peer in peers]  # type: ignore[misc]
    close = [server for server in servers if server.name.startswith((OURS, LIMIT))]
    return [turn for turn in (close, *([server] for server in servers if server not in close)) if turn]


def _turn(turn: Sequence[Running], plan: Plan) -> Measured:
    asked = [(running, name, work) for running in turn for name, work in running.works.items()]
    return {(name, level): _report(running, work, level, plan) for level in LEVELS for running, name, work in asked}


def _report(running: Running, work: Work, level: int, plan: Plan) -> Report:
    spent, began = running.processes.cpu_seconds(), time.monotonic()
    report = run(work, in_flight=level, seconds=plan.seconds, warm_up=plan.warm_up)
    cores = (running.processes.cpu_seconds() - spent) / (time.monotonic() - began)
    return replace(report, server_cores=cores)


def _rates(results: Results) -> Figures:
    columns = ["calls/s", *(f"{level} in flight" for level in LEVELS), *(f"of {LIMIT} at {level}" for level in LEVELS)]
    columns += [*(f"{OURS} is, at {level}" for level in LEVELS), "slowest round at 64", "cores of the server at 64", "of the load"]
    return Figures(columns, [_rate(results, subject) for subject in results.subjects()])


def _rate(results: Results, subject: str) -> list[str]:
    return [
        subject,
        *(f"{results.series[subject, level].per_second:,.0f}" for level in LEVELS),
        *(results.share(subject, LIMIT, level) for level in LEVELS),
        *(results.times(OURS, subject, level) for level in LEVELS),
        f"{results.series[subject, LEVELS[-1]].slowest_round:,.0f}",
        f"{results.series[subject, LEVELS[-1]].median(lambda report: report.server_cores):.1f}",
        f"{results.series[subject, LEVELS[-1]].median(lambda report: report.cores):.1f}",
    ]


def _latencies(results: Results) -> Figures:
    columns = ["ms", *(f"{share} at {level}" for level in LEVELS for share in ("p50", "p99")), "slowest call", "errors"]
    return Figures(columns, [_latency(results, subject) for subject in results.subjects()])


def _latency(results: Results, subject: str) -> list[str]:
    series = [results.series[subject, level] for level in LEVELS]
    times = [f"{value:.2f}" for one in series for value in (one.p50, one.p99)]
    return [subject, *times, f"{max(one.longest for one in series):.0f}", f"{sum(one.failed for one in series):,}"]


def _beside_the_best(results: Results) -> Figures:
    """Our lines against the best of the others, whichever that is."""
    ours = [subject for subject in results.subjects() if subject.startswith(OURS)]
    others = [subject for subject in results.subjects() if not subject.startswith((OURS, LIMIT))]
    columns = [
        "times the best of the others",
        *(f"calls/s at {level}" for level in LEVELS),
        "their p99 at 64",
        f"p50 at 1, times that of {LIMIT}",
        *(f"calls/s at {level}, times one process" for level in LEVELS[1:]),
    ]
    return Figures(columns, [_against(results, subject, others) for subject in ours] if others else [])


def _against(results: Results, subject: str, others: Sequence[str]) -> list[str]:
    best = {level: max(others, key=lambda other: results.series[other, level].per_second) for level in LEVELS}
    rates = [f"{results.times(subject, best[level], level)} ({best[level]})" for level in LEVELS]
    calmest = min(others, key=lambda other: results.series[other, LEVELS[-1]].p99)
    p99 = results.series[subject, LEVELS[-1]].p99 / results.series[calmest, LEVELS[-1]].p99
    limit = results.series.get((LIMIT, 1))
    lone = f"{results.series[subject, 1].p50 / limit.p50:.2f} x" if limit else ""
    alone = subject.replace(WORKERS, "")
    workers = [results.times(subject, alone, level) if alone != subject else "" for level in LEVELS[1:]]
    return [subject, *rates, f"{p99:.2f} x ({calmest})", lone, *workers]


def notes(peers: Sequence[Peer], results: Results) -> list[str]:
    """How each server was set up, or why it is not there."""
    told = []
    for peer in peers:
        if peer.name in results.missing:
            told.append(f"{peer.name} could not be measured, at least not in all rounds: {results.missing[peer.name]}")
        if peer.settings:
            told.append(f"{f'{peer.name} {peer.version()}'.strip()}: {peer.settings}")
    return told
