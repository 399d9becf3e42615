"""Four times as many calls as the server can answer: what becomes of those that it takes, and of the others."""

from dataclasses import dataclass
from typing import Any

from ..load import CALM, Outcome, Report, run
from ..peer import Running
from ..peers.modelwire import Modelwire, train, unary
from ..results import Figures, Section
from ..rounds import Measured, Results, Server, rounds
from ..work import Work
from . import Plan
from .unary import one_row_each

TIMES = 4
DEADLINE_SECONDS = 1.0
OVERLOADED_SECONDS = 30.0
IN_FLIGHT = 64
# Full speed is this share of the calls per second before.
FULL = 0.9
SLICE_SECONDS = 0.25
# A round takes long: it is not measured again as often as others are.
ATTEMPTS = 3
BEFORE, DURING, AFTER = 0, 1, 2
# The runners, and what limits the calls per second.
LIMITS = {"pausing": "a model of 10 ms: the model is the limit", "sample": "the sample model: gRPC is the limit"}


class Overloaded(Modelwire):
    runners = ("runner", "pausing")


@dataclass(frozen=True)
class Round:
    """What one round was like."""

    before: Report
    during: Report
    after: Report

    @property
    def refused(self) -> Outcome:
        return self.during.outcomes.get("RESOURCE_EXHAUSTED", Outcome())

    @property
    def taken(self) -> float:
        """What the host took for others, where it took most."""
        return max(self.before.taken, self.during.taken, self.after.taken)

    @property
    def late(self) -> int:
        return self.during.outcomes.get("DEADLINE_EXCEEDED", Outcome()).calls

    @property
    def others(self) -> int:
        return self.during.failed - self.refused.calls - self.late + self.during.skipped

    @property
    def recovered_seconds(self) -> float:
        """From the end of the overload to the end of the first slice of full speed; infinite if there was none."""
        enough = FULL * self.before.per_second * SLICE_SECONDS
        fast = (number for number, calls in enumerate(self.after.ok.slices, 1) if calls >= enough)
        return next(fast, float("inf")) * SLICE_SECONDS


def overload(plan: Plan) -> Section:
    question = one_row_each()
    turns = [
        [Server("modelwire", Overloaded(), lambda place: {name: unary(place, train(place, name), question) for name in LIMITS})]
    ]
    results = rounds(turns, question.columns, plan.rounds, lambda turn: _turn(*turn, plan))
    return Section(
        name="overload",
        title=f"{TIMES} times as many calls as can be answered",
        how=(
            f"What the server answers with {IN_FLIGHT} calls in flight is its capacity; then {TIMES} times as many are begun each second, "
            f"for {_overloaded(plan):g} s, whatever becomes of those before, each with a deadline of {DEADLINE_SECONDS:g} s. At last again "
            f"{IN_FLIGHT} in flight: full speed is {FULL:.0%} of the capacity within a slice of {SLICE_SECONDS * 1000:.0f} ms. Times are "
            "counted from when a call was due. A call that was taken is answered or, past its deadline, late; where the load "
            "needs all of its 2 cores, some have waited there."
        ),
        tables=[_table(results, name) for name in LIMITS],
        notes=_notes(results),
        busy=results.busy_at_start,
    )


def _notes(results: Results) -> list[str]:
    """What else went wrong, in the words of the last error of each kind."""
    reports = [report for (_, when), series in results.series.items() if when == DURING for report in series.reports]
    told = {name: outcome.message for report in reports for name, outcome in report.outcomes.items() if outcome.message}
    skipped = sum(report.skipped for report in reports)
    return [
        *(f"{name}: {message}" for name, message in told.items()),
        *([f"{skipped:,} calls were due and could not begin: too many were open"] if skipped else []),
        *(f"modelwire was not measured: {reason}" for reason in results.missing.values()),
    ]


def _overloaded(plan: Plan) -> float:
    """Short runs are short in all."""
    return min(OVERLOADED_SECONDS, 10 * plan.seconds)


def _turn(running: Running, plan: Plan) -> Measured:
    measured: Measured = {}
    for name, work in running.works.items():
        rounds: list[Round] = []
        while len(rounds) < ATTEMPTS and not (rounds and rounds[-1].taken <= CALM):
            rounds.append(_round(work, plan))
        calmest = min(rounds, key=lambda one: one.taken)
        measured |= {(name, BEFORE): calmest.before, (name, DURING): calmest.during, (name, AFTER): calmest.after}
    return measured


def _round(work: Work, plan: Plan) -> Round:
    """What is before, during and after belongs together: it is measured again as a whole."""
    before = run(work, in_flight=IN_FLIGHT, seconds=plan.seconds, warm_up=plan.warm_up, attempts=1)
    rate = TIMES * before.per_second
    overloaded: dict[str, Any] = {"seconds": _overloaded(plan), "warm_up": 0, "rate": rate, "deadline": f"{DEADLINE_SECONDS}s"}
    during = run(work, in_flight=IN_FLIGHT, attempts=1, **overloaded)
    after = run(work, in_flight=IN_FLIGHT, seconds=4, warm_up=0, slice=f"{SLICE_SECONDS}s", attempts=1)
    return Round(before, during, after)


def _table(results: Results, name: str) -> Figures:
    if not results.series:
        return Figures(["round"], [])
    reports = [results.series[name, when].reports for when in (BEFORE, DURING, AFTER)]
    every = [Round(*one) for one in zip(*reports, strict=True)]
    columns = [f"round, {LIMITS[name]}", "capacity/s", "offered/s", "answered/s", "p50 ms", "p99 ms", "slowest ms", "refused/s"]
    columns += [
        "refused p50 ms",
        "refused p99 ms",
        "say when to retry",
        "late of those taken",
        "other errors",
        "full speed after",
        "cores of the load",
        "taken by the host",
    ]
    return Figures(columns, [_row(str(number), one) for number, one in enumerate(every, 1)])


def _row(name: str, one: Round) -> list[str]:
    ok, refused, seconds = one.during.ok, one.refused, one.during.seconds
    offered = sum(outcome.calls for outcome in one.during.outcomes.values()) / seconds
    return [
        name,
        f"{one.before.per_second:,.0f}",
        f"{offered:,.0f}",
        f"{ok.calls / seconds:,.0f}",
        f"{ok.p50:.0f}",
        f"{ok.p99:.0f}",
        f"{ok.max:.0f}",
        f"{refused.calls / seconds:,.0f}",
        f"{refused.p50:.1f}",
        f"{refused.p99:.1f}",
        f"{refused.retry_info / refused.calls:.0%}" if refused.calls else "",
        f"{one.late / max(1, ok.calls + one.late):.1%}",
        f"{one.others:,}",
        f"{one.recovered_seconds:g} s",
        f"{one.during.cores:.1f}",
        f"{one.taken:.1%}",
    ]
