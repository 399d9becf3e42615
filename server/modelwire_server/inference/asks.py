"""Predictions that wait for their turn with a model."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
import pyarrow as pa

from modelwire_runners.frames import Frame, Matrix
from modelwire_runners.numbers import Columns, table_of

from ..errors import DeadlineExceeded
from ..layouts import PlainFrame, PlainFrames


@dataclass(eq=False, kw_only=True)
class Predicted:
    """Predictions, which model and engine computed them, and how long they waited and were computed. `answer` is columns of numbers by
    name, or a table of anything; `version` is the model's name and version, if it was asked for by name."""

    answer: Columns | pa.Table
    model_id: str
    engine: str
    queue_seconds: float
    compute_seconds: float
    version: str = ""

    @cached_property
    def table(self) -> pa.Table:
        return table_of(self.answer) if isinstance(self.answer, dict) else self.answer


@dataclass(slots=True, eq=False, kw_only=True)
class Ask:
    """A prediction to be done. Those whose `group` is equal may share a call; None shares with nobody. `deadline` is on the monotonic
    clock, `since` on that of time.perf_counter(). `is_piece` is whether it is of a frame that arrives meanwhile."""

    future: Frame
    historic: Frame
    horizon: int
    geo: dict[str, Any] | None
    run_info: dict[str, Any]
    group: Hashable | None
    deadline: float | None
    is_piece: bool = False
    since: float = field(default_factory=time.perf_counter)
    outcome: asyncio.Future[Predicted] | None = None

    def refuse_if_expired(self) -> bool:
        """Whether nobody waits for it any more. Tells so to whoever does all the same."""
        assert self.outcome is not None
        if self.outcome.done():
            return True
        if self.deadline is None or self.deadline > time.monotonic():
            return False
        self.outcome.set_exception(DeadlineExceeded("the deadline passed before the prediction's turn came", timeout=0))
        return True


class Joined:
    """Frames of one kind, one after the other."""

    __slots__ = ("_frames", "num_rows")

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames = frames
        self.num_rows = sum(frame.num_rows for frame in frames)

    def table(self) -> pa.Table:
        return pa.concat_tables([frame.table() for frame in self._frames]).combine_chunks()

    def matrix(self) -> Matrix:
        matrix: Matrix = np.concatenate([frame.matrix() for frame in self._frames])
        matrix.flags.writeable = False
        return matrix


def joined(frames: Sequence[Frame]) -> Frame:
    """The frames as one. Those that are laid out alike need not be looked at one by one."""
    first = frames[0]
    if isinstance(first, PlainFrame) and all(map(first.is_like, frames)):
        return PlainFrames([frame.data for frame in cast("Sequence[PlainFrame]", frames)], first.layout, first.width)
    return Joined(frames)


class WaitingLine:
    """Who waits for a model, by group: the group of whoever has waited longest is next, with as many of it as fit into a call."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._groups: OrderedDict[Hashable, deque[Ask]] = OrderedDict()
        self.rows = 0
        self._asks = 0

    def __len__(self) -> int:
        return self._asks

    @property
    def most_next(self) -> int:
        """How many rows the next call may have. One ask with more than fit into a call has one all the same."""
        if not self._groups:
            return 0
        group = next(iter(self._groups.values()))
        return max(group[0].future.num_rows, min(self.rows, self._max_rows))

    @property
    def next_is_piece(self) -> bool:
        return bool(self._groups) and next(iter(self._groups.values()))[0].is_piece

    def add(self, ask: Ask) -> None:
        key = ask.group if ask.group is not None else id(ask)
        self._groups.setdefault(key, deque()).append(ask)
        self._asks += 1
        self.rows += ask.future.num_rows

    def take(self) -> list[Ask]:
        """The asks of the next call, without those that nobody waits for any more; they may be none."""
        key, group = next(iter(self._groups.items()))
        taken = list(self._fitting(group))
        if group:
            self._groups.move_to_end(key)
        else:
            del self._groups[key]
        return [ask for ask in taken if not ask.refuse_if_expired()]

    def _fitting(self, group: deque[Ask]) -> Iterator[Ask]:
        rows = 0
        while group and (not rows or rows + group[0].future.num_rows <= self._max_rows):
            ask = group.popleft()
            rows += max(1, ask.future.num_rows)
            self._asks -= 1
            self.rows -= ask.future.num_rows
            yield ask


def split(answer: Columns | pa.Table, sizes: Iterable[int]) -> Iterator[Columns | pa.Table]:
    """The answer in pieces of so many rows, which share its memory."""
    begin = 0
    for size in sizes:
        if isinstance(answer, dict):
            yield {name: values[begin : begin + size] for name, values in answer.items()}
        else:
            yield answer.slice(begin, size)
        begin += size
