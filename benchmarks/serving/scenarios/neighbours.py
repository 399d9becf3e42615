"""A slow model beside a fast one on one server: what the callers of the fast one notice."""

from collections.abc import Mapping

from ..load import begun, most_seconds, run
from ..peer import Place, Question, Running, Works
from ..peers.modelwire import Modelwire, train, unary
from ..results import Figures, Section
from ..rounds import Measured, Results, Server, rounds
from . import Plan
from .unary import one_row_each

FAST = "fast"
SLOW = {"waiting": "one that sleeps for 200 ms", "computing": "one that computes for 200 ms"}
YIELDING = "yielding"
TOLD = {FAST: "nothing", **SLOW, YIELDING: "one that computes for 200 ms, with `models_yield`"}
# Calls of the slow model under way, and of the fast one.
SLOW_IN_FLIGHT = 4
LEVELS = (1, 16)
FIGURES = ("calls/s", "p50 ms", "p99 ms", "times p99 alone", "slowest ms")


class Neighbours(Modelwire):
    runners = ("runner", *SLOW)


class Yielding(Neighbours):
    def variables(self, place: Place) -> Mapping[str, str]:
        return {**super().variables(place), "MODELWIRE_MODELS_YIELD": "true"}


def neighbours(plan: Plan) -> Section:
    question = one_row_each()
    turns = [
        [Server("modelwire", Neighbours(), lambda place: _works(place, question, {name: name for name in SLOW}))],
        [Server("modelwire, yielding", Yielding(), lambda place: _works(place, question, {YIELDING: "computing"}))],
    ]
    results = rounds(turns, question.columns, plan.rounds, lambda turn: _turn(*turn, plan))
    return Section(
        name="neighbours",
        title="A slow model beside a fast one",
        how=(
            f"The fast model is asked by 1 caller or 16, alone and while {SLOW_IN_FLIGHT} calls of the other are under way. "
            f"One process. {plan.rounds} rounds, {plan.seconds:g} s for each figure."
        ),
        tables=[_table(results)],
        notes=[f"modelwire was not measured: {reason}" for reason in results.missing.values()],
        busy=results.busy_at_start,
        taken=results.taken,
    )


def _works(place: Place, question: Question, slow: Mapping[str, str]) -> Works:
    """The fast model, and runners by what their neighbourhood is called."""
    few = Question(question.rows[:4], question.expected[:4])
    neighbours = {name: unary(place, train(place, runner), few) for name, runner in slow.items()}
    return {FAST: unary(place, train(place), question), **neighbours}


def _turn(running: Running, plan: Plan) -> Measured:
    measured: Measured = {}
    fast, longest = running.works[FAST], most_seconds(plan.seconds, plan.warm_up) + 5
    for level in LEVELS:
        if YIELDING not in running.works:
            measured[FAST, level] = run(fast, in_flight=level, seconds=plan.seconds, warm_up=plan.warm_up)
        for name in running.works.keys() - {FAST}:
            with begun(running.works[name], in_flight=SLOW_IN_FLIGHT, seconds=longest, warm_up=0):
                measured[name, level] = run(fast, in_flight=level, seconds=plan.seconds, warm_up=plan.warm_up)
    return measured


def _table(results: Results) -> Figures:
    columns = ["beside the fast model"]
    columns += [f"{what}, {level} in flight" for level in LEVELS for what in FIGURES]
    rows = [[told, *(cell for level in LEVELS for cell in _cells(results, name, level))] for name, told in TOLD.items()]
    return Figures(columns, rows if results.series else [])


def _cells(results: Results, name: str, level: int) -> list[str]:
    series, alone = results.series[name, level], results.series[FAST, level]
    times = f"{series.p99 / alone.p99:.2f} x"
    return [f"{series.per_second:,.0f}", f"{series.p50:.2f}", f"{series.p99:.2f}", times, f"{series.longest:.0f}"]
