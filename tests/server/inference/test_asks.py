"""Who waits for a model, and what becomes of frames that share a call."""

import asyncio
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire_runners.frames import TableFrame
from modelwire_server.errors import DeadlineExceeded
from modelwire_server.frames import FrameLimits, read_frame, write_frame
from modelwire_server.inference.asks import Ask, WaitingLine, joined, split
from modelwire_server.layouts import Layouts, PlainFrame, PlainFrames


def ask(rows: int = 1, group: Any = "one", deadline: float | None = None) -> Ask:
    frame = TableFrame(pa.table({"x": np.zeros(rows)}))
    made = Ask(future=frame, historic=frame, horizon=3, geo=None, run_info={}, group=group, deadline=deadline)
    made.outcome = asyncio.get_running_loop().create_future()
    return made


def test_groups_take_turns_and_each_goes_in_its_order() -> None:
    async def main() -> None:
        line = WaitingLine(max_rows=2)
        asks = [ask(group=group) for group in ("a", "a", "b", "a", None, "b", None)]
        for one in asks:
            line.add(one)
        taken = []
        while line:
            taken.append([asks.index(one) for one in line.take()])
        assert taken == [[0, 1], [2, 5], [4], [6], [3]]
        assert line.rows == 0

    asyncio.run(main())


def test_one_that_is_larger_than_the_limit_goes_alone() -> None:
    async def main() -> None:
        line = WaitingLine(max_rows=4)
        for rows in (1, 9, 0, 0, 4):
            line.add(ask(rows))
        assert line.rows == 14
        assert [[one.future.num_rows for one in line.take()] for _ in range(4)] == [[1], [9], [0, 0], [4]]
        assert not len(line)

    asyncio.run(main())


def test_expired_and_abandoned_ones_are_left_out() -> None:
    async def main() -> None:
        line, now = WaitingLine(max_rows=10), time.monotonic()
        expired, gone, waiting, patient = ask(deadline=now - 1), ask(), ask(deadline=now + 60), ask()
        for one in (expired, gone, waiting, patient):
            line.add(one)
        assert gone.outcome is not None
        gone.outcome.cancel()
        assert line.take() == [waiting, patient]
        assert expired.outcome is not None
        with pytest.raises(DeadlineExceeded, match="before the prediction's turn"):
            await expired.outcome

    asyncio.run(main())


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_what_is_joined_is_split_again(sizes: list[int]) -> None:
    ends = np.cumsum(sizes)
    tables = [
        pa.table({"x": np.arange(end - size, end, dtype="f8"), "t": pa.array([str(size)] * size, pa.string())})
        for end, size in zip(ends, sizes, strict=True)
    ]
    whole = joined([TableFrame(table, ["x"]) for table in tables])
    assert whole.num_rows == sum(sizes)
    assert whole.matrix()[:, 0].tolist() == list(range(sum(sizes)))
    assert not whole.matrix().flags.writeable
    assert [piece.to_pydict() for piece in split(whole.table(), sizes)] == [table.to_pydict() for table in tables]
    pieces = list(split({"x": whole.matrix()[:, 0]}, sizes))
    assert [piece["x"].tolist() for piece in pieces] == [table.column("x").to_pylist() for table in tables]


@given(st.lists(st.integers(1, 3), min_size=2, max_size=6))
def test_frames_that_are_read_where_they_lie_are_joined_whether_or_not_they_are_laid_out_alike(sizes: list[int]) -> None:
    numbers, layouts = iter(range(10**6)), Layouts()
    frames = [plain(layouts, pa.table({name: [float(next(numbers)) for _ in range(size)] for name in "abc"})) for size in sizes]
    whole = joined(frames)
    assert isinstance(whole, PlainFrames) == (len(set(sizes)) == 1)
    assert whole.num_rows == sum(sizes)
    np.testing.assert_array_equal(whole.matrix(), np.concatenate([frame.matrix() for frame in frames]), strict=True)
    assert whole.table() == pa.concat_tables([frame.table() for frame in frames])
    assert not isinstance(joined([*frames, whole]), PlainFrames)


def test_frames_are_not_taken_for_alike_where_others_are_to_have_fewer_columns() -> None:
    frame = plain(Layouts(), pa.table({"a": [1.0], "b": [2.0]}))
    assert frame.is_like(frame.of_width(2))
    assert not frame.is_like(frame.of_width(1))


def plain(layouts: Layouts, table: pa.Table) -> PlainFrame:
    content = write_frame(table)
    if layouts.known(content) is None:
        layouts.learn(content, read_frame(content, FrameLimits(), "future"))
    frame = layouts.known(content)
    assert frame is not None
    return frame
