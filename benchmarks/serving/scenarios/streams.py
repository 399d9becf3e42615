"""Many rows as messages of their own on streams that stay open."""

from ..load import run
from ..peer import Peer, Place, Question, Running, Works
from ..peers.modelwire import BUNDLED as MOST_IN_BUNDLE
from ..results import Figures, Section
from ..rounds import Measured, Results, Server, rounds
from . import Plan
from .unary import LIMIT, notes, one_row_each

# Streams, and messages in flight on all of them.
SHAPES = {1: "1 stream, 64 in flight", 16: "16 streams, 64 in flight"}
IN_FLIGHT = 64
UNARY = 0
# What the names of lines have more whose messages share bundles.
BUNDLED = ", bundled"


def streams(plan: Plan) -> Section:
    question = one_row_each()
    peers = [peer for peer in plan.peers if type(peer).streams is not Peer.streams]
    turns = [[Server(peer.name, peer, lambda place, peer=peer: _works(peer, place, question))] for peer in peers]  # type: ignore[misc]
    results = rounds(turns, question.columns, plan.rounds, lambda turn: _turn(*turn, plan))
    return Section(
        name="streams",
        title="One row of 4 doubles a message, on streams that stay open",
        how=(
            f"{IN_FLIGHT} messages in flight, on one stream and on 16, beside as many unary calls of the same engine. Bundled: up to "
            f"{MOST_IN_BUNDLE} of the same messages, those that have room at the same time, share one, and so do answers; the echo's do "
            f"not. {plan.rounds} rounds in turn, {plan.seconds:g} s for each figure."
        ),
        tables=[table(results)],
        notes=notes(peers, results),
        busy=results.busy_at_start,
        taken=results.taken,
    )


def _works(peer: Peer, place: Place, question: Question) -> Works:
    """What the peer takes on streams, and under the same names after a blank the same by unary calls."""
    streamed, called = peer.streams(place, question), peer.calls(place, question)
    return {**streamed, **{f" {name}": called[name] for name in streamed if name in called}}


def _turn(running: Running, plan: Plan) -> Measured:
    measured: Measured = {}
    for name, work in running.works.items():
        if work.mode != "stream":
            measured[name.strip(), UNARY] = run(work, in_flight=IN_FLIGHT, seconds=plan.seconds, warm_up=plan.warm_up)
            continue
        for count in SHAPES:
            options = {"in_flight": IN_FLIGHT, "streams": count, "connections": count}
            measured[name, count] = run(work, seconds=plan.seconds, warm_up=plan.warm_up, **options)
    return measured


def table(results: Results) -> Figures:
    """Rates on streams, beside those of unary calls of the same engine."""
    columns = [
        "messages/s",
        "unary, 64 in flight",
        *SHAPES.values(),
        *(f"of {LIMIT}, {shape.split(',')[0]}" for shape in SHAPES.values()),
    ]
    columns += [
        *(f"times unary, {shape.split(',')[0]}" for shape in SHAPES.values()),
        "p50 on 1 stream, ms",
        "p99 on 1 stream, ms",
        "errors",
    ]
    return Figures(columns, [_row(results, subject) for subject in results.subjects()])


def _row(results: Results, subject: str) -> list[str]:
    unary = results.series[subject.replace(BUNDLED, ""), UNARY]
    series = {UNARY: unary, **{count: results.series[subject, count] for count in SHAPES}}
    return [
        subject,
        *(f"{one.per_second:,.0f}" for one in series.values()),
        *(results.share(subject, LIMIT, count) for count in SHAPES),
        *(f"{series[count].per_second / unary.per_second:.2f} x" for count in SHAPES),
        f"{series[1].p50:.2f}",
        f"{series[1].p99:.2f}",
        f"{sum(one.failed for one in series.values()):,}",
    ]
