"""PredictStream with frames that are predicted while they arrive, and answers out of order."""

import asyncio
import io
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import row_runners

from modelwire.v1 import frame_pb2, run_info_pb2
from modelwire.v1 import predict_service_pb2 as pb
from modelwire_server.frames import FrameLimits, read_frame, write_frame
from modelwire_server.services.chunked import AT_ONCE
from modelwire_server.services.receiving import LARGEST_CHUNK
from modelwire_server.services.stream_answers import MOST_CALLS

Part = pb.PredictStreamRequest
END = pb.PredictStreamEnd()
MIB = 1 << 20
ROWS = {"targets": ["row_runners:rows", "row_runners:changing"]}


@pytest.fixture(autouse=True)
def nothing_asked() -> Iterator[None]:
    row_runners.asked.clear()
    row_runners.gate.clear()
    while row_runners.entered.acquire(blocking=False):
        pass
    yield
    row_runners.gate.set()


def chunks_of(table: pa.Table, rows: int) -> list[bytes]:
    """The bytes of an Arrow stream, cut where its record batches end."""
    sink, cuts = io.BytesIO(), [0]
    with pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=rows):
            writer.write_batch(batch)
            cuts.append(sink.tell())
    data = sink.getvalue()
    return [data[begin:end] for begin, end in zip(cuts, [*cuts[1:], len(data)], strict=True)]


def parts_of(call: int, model: str, chunks: list[bytes], **header: Any) -> Iterator[Part]:
    yield Part(call=call, header=pb.PredictRequest(model=model, **header))
    yield from futures(call, chunks)
    yield Part(call=call, end=END)


def futures(call: int, chunks: list[bytes]) -> Iterator[Part]:
    for chunk in chunks:
        for at in range(0, len(chunk), LARGEST_CHUNK):
            yield Part(call=call, future=chunk[at : at + LARGEST_CHUNK])


def whole(call: int, model: str, **columns: Any) -> Part:
    return Part(call=call, whole=pb.PredictRequest(model=model, future=frame_pb2.Frame(arrow=write_frame(pa.table(columns)))))


async def answers_to(edge: Any, *parts: Part) -> list[pb.PredictStreamResponse]:
    return [answer async for answer in edge.predictions.PredictStream(iter(parts))]


def table_of(answers: list[pb.PredictStreamResponse]) -> pa.Table:
    """The predictions of one call, whose last answer must be its end."""
    assert answers[-1].WhichOneof("part") == "end", answers[-1]
    return read_frame(b"".join(answer.predictions for answer in answers[:-1]), FrameLimits(), "predictions")


def kinds(answers: list[pb.PredictStreamResponse]) -> list[tuple[int, str | None]]:
    return [(answer.call, answer.WhichOneof("part")) for answer in answers]


def numbers(count: int, **columns: Any) -> pa.Table:
    """Rows of 64 bytes, and what is added."""
    return pa.table({"x": np.arange(count, dtype=float), **padding(count), **columns})


def padding(count: int) -> dict[str, Any]:
    return {f"padding_{number}": np.zeros(count) for number in range(7)}


async def rest_of(call: Any) -> list[pb.PredictStreamResponse]:
    """All further answers of a call of which one was read."""
    answers = []
    while answer := await call.read():
        answers.append(answer)
    return answers


async def written_before_it_stalls(call: Any, part: Part) -> int:
    """How many times a part can be written until nobody takes it any more."""
    for sent in range(1000):
        try:
            async with asyncio.timeout(2):
                await call.write(part)
        except TimeoutError:
            return sent
    raise AssertionError("everything is taken")


def test_large_frames_are_predicted_piece_by_piece(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(factor=3, runner_id="rows")
        frame = numbers(1_000_000)
        answers = await answers_to(edge, *parts_of(1, model, chunks_of(frame, 150_000)))
        assert table_of(answers).column("y").to_numpy().tolist() == (3 * np.arange(1_000_000.0)).tolist()
        assert len(row_runners.asked) == 14
        end = answers[-1].end
        assert (end.model_id, end.engine) == (model, "runner")
        assert 0 < end.timing.compute_us <= end.timing.total_us * AT_ONCE
        assert max(len(answer.predictions) for answer in answers) <= MIB

    run(scenario, **ROWS)


def test_answers_come_while_the_frame_is_sent(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(runner_id="rows")
        parts = parts_of(1, model, chunks_of(numbers(600_000), 150_000))
        call = edge.predictions.PredictStream()
        for _ in range(5):  # the header, the schema, a batch in three chunks
            await call.write(next(parts))
        first = await call.read()
        assert first.WhichOneof("part") == "predictions"
        for part in parts:
            await call.write(part)
        await call.done_writing()
        rest = await rest_of(call)
        assert table_of([first, *rest]).num_rows == 600_000

    run(scenario, **ROWS)


def test_small_batches_are_put_together_and_large_ones_cut(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model, frame = await edge.model(runner_id="rows"), numbers(400_000)
        for rows, calls in ((1000, [50_000] * 8), (400_000, [73_728] * 5 + [31_360])):
            row_runners.asked.clear()
            data = b"".join(chunks_of(frame, rows))
            chunks = [data[at : at + 700_000] for at in range(0, len(data), 700_000)]
            assert table_of(await answers_to(edge, *parts_of(1, model, chunks))).num_rows == 400_000
            assert row_runners.asked == calls

    run(scenario, **ROWS)


@pytest.mark.parametrize("sizes", [[997], [3 * MIB, 5, 700_000], [MIB], [1, 2, 3, 1_500_001]])
def test_chunks_may_be_cut_anywhere(run: Any, sizes: list[int]) -> None:
    async def scenario(edge: Any) -> None:
        count = 200_000 if min(sizes) > 100_000 else 2_000
        frame = numbers(count, c=pa.array(["a", "b"] * (count // 2)).dictionary_encode(), n=pa.nulls(count))
        data, chunks = b"".join(chunks_of(frame, count // 7)), []
        for size in itertools.cycle(sizes):
            chunks.append(data[:size])
            data = data[size:]
            if not data:
                break
        model = await edge.model(runner_id="rows")
        table = table_of(await answers_to(edge, *parts_of(7, model, chunks)))
        assert table.column("y").to_numpy().tolist() == (2 * np.arange(float(count))).tolist()

    run(scenario, **ROWS)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_frames(run: Any, compression: str) -> None:
    async def scenario(edge: Any) -> None:
        sink, frame = io.BytesIO(), numbers(500_000)
        with pa.ipc.new_stream(sink, frame.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
            writer.write_table(frame, max_chunksize=100_000)
        data = sink.getvalue()
        chunks = [data[at : at + MIB] for at in range(0, len(data), MIB)]
        answers = await answers_to(edge, *parts_of(1, await edge.model(runner_id="rows"), chunks))
        assert table_of(answers).column("y")[-1].as_py() == 2 * 499_999
        assert len(row_runners.asked) > 1

    run(scenario, **ROWS)


def test_frames_without_rows(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(runner_id="rows")
        no_batch = chunks_of(numbers(0), 10)
        empty_batch = [write_frame(numbers(0))]
        answers = await answers_to(edge, *parts_of(1, model, no_batch), *parts_of(2, model, empty_batch))
        for call in (1, 2):
            table = table_of([answer for answer in answers if answer.call == call])
            assert (table.num_rows, table.column_names) == (0, ["y"])

    run(scenario, **ROWS)


def test_an_error_after_answers_does_not_end_the_stream(run: Any, apart: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(runner_id="rows")
        frame = pa.table({"x": np.where(np.arange(800_000) == 450_000, -1.0, 1.0), **padding(800_000)})
        cut_short = chunks_of(numbers(300_000), 150_000)[:-1]
        parts = [
            *parts_of(1, model, chunks_of(frame, 150_000)),
            *parts_of(2, model, [*cut_short, b"nonsense"]),
            *parts_of(3, model, chunks_of(numbers(5), 5)),
        ]
        answers = await answers_to(edge, *parts)
        errors = {answer.call: apart(answer.error).reason for answer in answers if answer.WhichOneof("part") == "error"}
        assert errors == {1: "RUNNER_FAILED", 2: "INVALID_FRAME"}
        assert [answer.call for answer in answers] == sorted(answer.call for answer in answers)
        assert sum(call == 1 for call, kind in kinds(answers) if kind == "predictions") >= 1
        assert table_of([answer for answer in answers if answer.call == 3]).num_rows == 5

    run(scenario, **ROWS)


def test_a_frame_that_fails_is_told_at_once_and_its_rest_is_not_predicted(run: Any, apart: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(runner_id="rows")
        bad = chunks_of(pa.table({"x": np.full(900_000, -1.0), **padding(900_000)}), 150_000)
        parts = parts_of(1, model, bad)
        call = edge.predictions.PredictStream()
        for _ in range(5):
            await call.write(next(parts))
        answer = await call.read()
        assert apart(answer.error).reason == "RUNNER_FAILED"
        for part in parts:
            await call.write(part)
        await call.write(whole(2, model, x=[1.0]))
        assert (await call.read()).call == 2
        assert len(row_runners.asked) <= 1 + AT_ONCE + 1
        await call.done_writing()

    run(scenario, **ROWS)


def test_what_cannot_be_cut_is_predicted_as_a_whole(run: Any) -> None:
    """A horizon that is not known before the end, a past, GeoJSON."""

    async def scenario(edge: Any) -> None:
        model = await edge.model(runner_id="rows")
        periods = numbers(300_000, time_period=[f"{number:06}" for number in range(300_000)])
        known = {"run_info": run_info_pb2.RunInfo(prediction_periods=2)}
        plain, begin = chunks_of(numbers(300_000), 150_000), Part(call=1, header=pb.PredictRequest(model=model))
        past = Part(call=1, historic=write_frame(numbers(3)))
        place = Part(call=1, geo=json.dumps({"type": "FeatureCollection", "features": []}).encode())
        rest = [*futures(1, plain), Part(call=1, end=END)]
        for parts, is_cut in (
            (parts_of(1, model, chunks_of(periods, 50_000)), False),
            (parts_of(1, model, chunks_of(periods, 50_000), **known), True),
            ([begin, past, *rest], False),
            ([begin, place, *rest], False),
            ([begin, *rest], True),
        ):
            row_runners.asked.clear()
            assert table_of(await answers_to(edge, *parts)).num_rows == 300_000
            assert (len(row_runners.asked) > 1) == is_cut

    run(scenario, **ROWS)


def test_what_belongs_to_the_frame_must_come_before_it(run: Any, apart: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(runner_id="rows")
        for late in (Part(call=1, historic=write_frame(numbers(3))), Part(call=1, geo=b"{}")):
            parts = list(parts_of(1, model, chunks_of(numbers(300_000), 150_000)))
            parts.insert(-1, late)
            last = (await answers_to(edge, *parts))[-1]
            found = apart(last.error)
            assert (found.reason, found.fields) == ("INVALID_FIELD", [late.WhichOneof("part")])

    run(scenario, **ROWS)


def test_limits(run: Any, apart: Any) -> None:
    """A frame that is not kept may be larger than one that is, but not larger than any."""

    async def scenario(edge: Any) -> None:
        rows, times = await edge.model(runner_id="rows"), await edge.model(runner_id="times")
        small, large = chunks_of(numbers(50_000), 10_000), chunks_of(numbers(100_000), 10_000)
        answers = await answers_to(edge, *parts_of(1, rows, small), *parts_of(2, times, small), *parts_of(3, rows, large))
        ends = [answer for answer in answers if answer.WhichOneof("part") in ("end", "error")]
        assert kinds(ends) == [(1, "end"), (2, "error"), (3, "error")]
        assert [apart(end.error).reason for end in ends[1:]] == ["FRAME_TOO_LARGE", "FRAME_TOO_LARGE"]

    run(scenario, max_predict_bytes="1MiB", max_frame_bytes="5MiB", **ROWS)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [(0, 1, ""), (1, 0, ""), (2, 0, ""), (0, 2, ""), (0, 3, "INVALID_PREDICTION")],
    ids=["narrower", "wider", "text then numbers", "numbers in text", "another name"],
)
def test_later_rows_get_the_columns_of_the_first(run: Any, apart: Any, first: int, second: int, reason: str) -> None:
    async def scenario(edge: Any) -> None:
        model, count = await edge.model(runner_id="changing"), 150_000
        frame = pa.table({"x": [first] * count + [second] * count, **padding(2 * count)})
        answers = await answers_to(edge, *parts_of(1, model, chunks_of(frame, count)))
        if reason:
            assert apart(answers[-1].error).reason == reason
        else:
            types = {1: pa.float32(), 2: pa.string()}
            assert table_of(answers).schema.field("y").type == types.get(first, pa.float64())

    run(scenario, **ROWS)


def test_a_model_that_stands_still_stops_the_caller(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model, frame = await edge.model(runner_id="rows"), numbers(120_000, wait=np.zeros(120_000, np.int8))
        head, batch, _ = chunks_of(frame, 60_000)
        call = edge.predictions.PredictStream()
        await call.write(Part(call=1, header=pb.PredictRequest(model=model)))
        await call.write(Part(call=1, future=head))
        sent = await written_before_it_stalls(call, Part(call=1, future=batch))
        assert 0 < sent < 40
        assert len(row_runners.asked) <= AT_ONCE
        call.cancel()
        row_runners.gate.set()
        await edge.left_by_all("PredictService", "PredictStream")

    run(scenario, **ROWS)


def test_a_caller_that_takes_no_answers_is_predicted_no_further(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(runner_id="rows")
        head, batch, _ = chunks_of(numbers(120_000), 60_000)
        call = edge.predictions.PredictStream()
        await call.write(Part(call=1, header=pb.PredictRequest(model=model)))
        await call.write(Part(call=1, future=head))
        sent = await written_before_it_stalls(call, Part(call=1, future=batch))
        # What gRPC buffers on both sides, and no more than a few pieces beyond.
        assert sent < 60
        assert 0 < len(row_runners.asked) <= sent
        call.cancel()
        await edge.left_by_all("PredictService", "PredictStream")
        assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("predict stream")] == []

    run(scenario, **ROWS)


def test_leaving_ends_the_work(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model, frame = await edge.model(runner_id="rows"), numbers(900_000, wait=np.zeros(900_000, np.int8))
        call = edge.predictions.PredictStream(parts_of(1, model, chunks_of(frame, 150_000)))
        assert await asyncio.to_thread(row_runners.entered.acquire, timeout=20)
        call.cancel()
        await edge.left_by_all("PredictService", "PredictStream")
        row_runners.gate.set()
        assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("predict stream")] == []
        assert len(row_runners.asked) <= AT_ONCE

    run(scenario, **ROWS)


def options() -> Part:
    return Part(options=pb.PredictStreamOptions(out_of_order=True))


@pytest.mark.parametrize("out_of_order", [False, True])
def test_answers_in_order_or_as_they_are_done(run: Any, out_of_order: bool) -> None:
    async def scenario(edge: Any) -> None:
        rows, times = await edge.model(runner_id="rows"), await edge.model(runner_id="times")
        asked = [whole(1, rows, x=[1.0], wait=[0]), *(whole(call, times, x=[call]) for call in (2, 3))]
        call = edge.predictions.PredictStream(iter([options(), *asked] if out_of_order else asked))
        if out_of_order:
            early = {(await call.read()).call for _ in range(2)}
            row_runners.gate.set()
            assert early == {2, 3}
            assert (await call.read()).call == 1
        else:
            assert await asyncio.to_thread(row_runners.entered.acquire, timeout=20)
            row_runners.gate.set()
            assert [(await call.read()).call for _ in range(3)] == [1, 2, 3]

    run(scenario, **ROWS)


def test_large_frames_do_not_hold_up_small_ones_that_ask_for_it(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        rows, times = await edge.model(runner_id="rows"), await edge.model(runner_id="times")
        frame = numbers(50_000, wait=np.zeros(50_000, np.int8))
        parts = [options(), *parts_of(1, rows, chunks_of(frame, 50_000)), whole(2, times, x=[4])]
        call = edge.predictions.PredictStream(iter(parts))
        assert (await call.read()).call == 2
        row_runners.gate.set()
        rest = await rest_of(call)
        assert table_of(rest).num_rows == 50_000

    run(scenario, **ROWS)


def test_options_that_come_late_end_the_stream(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        found = await refusal(edge.predictions.PredictStream(iter([whole(1, await edge.model(), x=[1]), options()])))
        assert (found.reason, found.fields) == ("INVALID_FIELD", ["options"])

    run(scenario)


@pytest.mark.parametrize("out_of_order", [False, True])
def test_thousands_of_messages(run: Any, out_of_order: bool) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(runner_id="rows")
        count = 10 * MOST_CALLS

        async def asked() -> AsyncIterator[Part]:
            if out_of_order:
                yield options()
            for call in range(count):
                yield whole(call, model, x=[float(call)])

        found = {}
        async for answer in edge.predictions.PredictStream(asked()):
            table = read_frame(answer.whole.predictions.arrow, FrameLimits(), "predictions")
            found[answer.call] = table.column("y").to_pylist()
        assert found == {call: [2.0 * call] for call in range(count)}
        if not out_of_order:
            assert list(found) == list(range(count))

    run(scenario, **ROWS)


def test_a_stream_waits_for_a_busy_model(run: Any) -> None:
    """With one call at a time and room for two more, a hundred are answered all the same."""

    async def scenario(edge: Any) -> None:
        model = await edge.model(runner_id="rows")
        asked = [whole(call, model, x=[float(call)], wait=[0]) for call in range(100)]
        call = edge.predictions.PredictStream(iter(asked))
        assert await asyncio.to_thread(row_runners.entered.acquire, timeout=20)
        row_runners.gate.set()
        assert [(answer.call, answer.WhichOneof("part")) async for answer in call] == [(call, "whole") for call in range(100)]

    run(scenario, max_waiting_predictions=2, max_batch_rows=1, **ROWS)
