"""A frame of 80 MB in, its predictions out: how long, and how much memory."""

from dataclasses import replace

from .. import sample
from ..load import run
from ..peer import Peer, Place, Question, Running, Works
from ..results import Figures, Section
from ..rounds import Measured, Results, Server, rounds
from . import Plan
from .unary import notes

ROWS, COLUMNS = 1_000_000, 10
MEGABYTE = 1_000_000
# Their median is the figure of a round.
LEAST_SECONDS = 5.0


def frames(plan: Plan) -> Section:
    rows = sample.asked(ROWS, COLUMNS)
    question = Question(rows, sample.trained(COLUMNS).predict(rows))
    turns = [
        [Server(f"{peer.name}: {form}", peer, lambda place, peer=peer, form=form: _work(peer, place, question, form))]  # type: ignore[misc]
        for peer in plan.peers
        for form in peer.forms
    ]
    results = rounds(turns, COLUMNS, plan.rounds, lambda turn: _turn(*turn, plan))
    peers = [peer for peer in plan.peers if peer.forms]
    return Section(
        name="frames",
        title=f"{ROWS:,} rows of {COLUMNS} doubles at once",
        how=(
            "One call at a time, 80 MB in and 8 MB out, StandardScaler and LogisticRegression. The most memory of the process that "
            f"predicts is VmHWM from its start on. {plan.rounds} rounds in turn, a server started anew for each line."
        ),
        tables=[_table(results)],
        notes=[*notes(peers, results), *(f"{name} was not measured: {reason}" for name, reason in results.missing.items())],
        busy=results.busy_at_start,
        taken=results.taken,
    )


def _work(peer: Peer, place: Place, question: Question, form: str) -> Works:
    return {f"{peer.name}: {form}": peer.frame(place, question, form)}


def _turn(running: Running, plan: Plan) -> Measured:
    measured: Measured = {}
    for name, work in running.works.items():
        report = run(work, in_flight=1, seconds=max(plan.seconds, LEAST_SECONDS), warm_up=plan.warm_up, deadline="120s")
        measured[name, 1] = replace(report, peak_bytes=running.processes.peak_bytes())
    return measured


def _table(results: Results) -> Figures:
    columns = [
        "",
        "median ms",
        "p90 ms",
        "slowest ms",
        "times the fastest Flight",
        "most memory, MB",
        "times the frame",
        "calls",
        "errors",
    ]
    return Figures(columns, [_row(results, subject) for subject in results.subjects()])


def _row(results: Results, subject: str) -> list[str]:
    series = results.series[subject, 1]
    flights = [results.series[name, 1].p50 for name in results.subjects() if name.startswith("Flight")]
    peak = max(report.peak_bytes for report in series.reports)
    return [
        subject,
        f"{series.p50:.0f}",
        f"{series.median(lambda report: report.ok.p90):.0f}",
        f"{series.longest:.0f}",
        f"{series.p50 / min(flights):.2f} x" if flights else "",
        f"{peak / MEGABYTE:.0f}",
        f"{peak / (ROWS * COLUMNS * 8):.1f} x",
        f"{sum(report.ok.calls for report in series.reports)}",
        f"{series.failed:,}",
    ]
