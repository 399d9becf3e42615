"""Predictions whose frames come in chunks: predicted while they arrive where rows are independent, else when all is there."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyarrow as pa

from modelwire.v1 import frame_pb2
from modelwire.v1 import predict_service_pb2 as pb

from ..errors import FieldViolation, InvalidFrame, Overloaded
from ..frame_parts import FrameParts
from ..frame_stream import LEAST_COMPILED_PIECE, LEAST_PIECE, FrameStream, Pieces
from ..frames import FrameLimits
from ..inference.models import RUNNER, LoadedModel
from ..inference.predictor import Predicted
from ..interceptors.errors import status_of
from ..periods import PERIOD
from ..prediction import Prediction, PredictOrder
from .checks import Findings
from .messages import POLICIES, run_info_of
from .receiving import IN_CHUNKS, GeoReceiver, out_of_order
from .stream_answers import Reply
from .stream_messages import end_part, error_part, predictions_part

EARLY = "must come before `future`, which is predicted as it arrives"
# So many pieces are predicted, or wait for their answers to be taken.
AT_ONCE = 2
# So many seconds are waited for a busy model before it is asked again.
PATIENCE = 0.05


class Spent:
    """Who predicted, and how long it took, over all pieces."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._queue = self._compute = 0.0
        self._last: Predicted | None = None
        self.version = ""

    def add(self, predicted: Predicted) -> None:
        self._last = predicted
        self._queue += predicted.queue_seconds
        self._compute += predicted.compute_seconds

    def message(self) -> pb.PredictStreamEnd:
        assert self._last is not None
        timing = pb.PredictTiming(
            queue_us=round(self._queue * 1e6),
            compute_us=round(self._compute * 1e6),
            total_us=round((time.perf_counter() - self._began) * 1e6),
        )
        return pb.PredictStreamEnd(
            model_id=self._last.model_id, engine=self._last.engine, timing=timing, model_version=self.version
        )


class Chunked:
    """One prediction. The first thing that is wrong with it is its answer; what then still comes of it is not looked at.

    Each piece of the frame (or, where rows are not independent, the whole) is predicted by a task of its own, a few at a time; another
    task answers, in their order. So one piece is read while another is predicted and a third answered, and whoever is faster waits.
    """

    def __init__(
        self,
        call: int,
        header: pb.PredictRequest,
        reply: Reply,
        prediction: Prediction,
        *,
        limits: FrameLimits,
        max_bytes: int,
        max_geo_bytes: int,
    ) -> None:
        """`limits` are those of a frame that is predicted as it arrives; one that is collected has at most `max_bytes`."""
        self._call, self._reply, self._prediction = call, reply, prediction
        self._collected = limits.in_memory(max_bytes)
        self._future = FrameStream(limits, "future")
        self._historic = FrameStream(self._collected, "historic")
        self._geo = GeoReceiver(max_geo_bytes)
        self._futures: list[pa.RecordBatch] = []
        self._historics: list[pa.RecordBatch] = []
        self._rows_are_independent = False
        self._least_piece = LEAST_PIECE
        self._pieces: Pieces | None = None
        self._header = header
        self._order = PredictOrder(model="", future=None)
        self._room = asyncio.Semaphore(AT_ONCE)
        self._under_way: asyncio.Queue[asyncio.Task[Predicted] | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Predicted]] = set()
        self._failed = False
        self._given = 0
        self._spent = Spent()
        leave = prediction.enter()
        self.task = asyncio.create_task(self._answer(), name=f"predict stream call {call}")
        self.task.add_done_callback(leave)

    @property
    def is_collected(self) -> bool:
        """Whether the whole frame is in memory."""
        return self._pieces is None

    async def begin(self) -> None:
        """Looks at the header."""
        with self._answering_errors():
            self._order = order_of(self._header)
            named = await self._prediction.resolve(self._order.model)
            model = await self._prediction.load(named.artifact_id)
            # A name may stand for another model in the middle of the frame.
            self._order, self._spent.version = replace(self._order, model=model.artifact_id), named.version
            self._rows_are_independent = may_be_cut(model)
            if self._rows_are_independent and model.chosen(self._order.engine) != RUNNER:
                self._least_piece = LEAST_COMPILED_PIECE

    async def add(self, part: str, chunk: memoryview) -> None:
        """Takes a chunk. Waits while the pieces before it are predicted."""
        if self._failed:
            return
        with self._answering_errors():
            if part == "future":
                for batch in await _read(self._future, chunk):
                    await self._take(batch)
            elif self._pieces is not None:
                raise out_of_order(part, EARLY)
            elif part == "historic":
                self._historics.extend(await _read(self._historic, chunk))
            else:
                await self._geo.add(bytes(chunk))

    async def finish(self) -> None:
        """All chunks are there."""
        if self._failed:
            return
        with self._answering_errors():
            if not self._future.size:
                raise InvalidFrame("future: is needed", violations=[FieldViolation("future", "is needed")], field="future")
            schema = self._future.finish()
            if self._pieces is None:
                self._collect()
                await self._complete()
                await self._give(pa.Table.from_batches(self._futures, schema))
                self._futures.clear()
            else:
                for piece in self._pieces.rest(schema):
                    await self._give(piece)
            if not self._failed:
                self._under_way.put_nowait(None)

    def give_up(self) -> None:
        """No more of it will come, and nobody waits for its answer."""
        if not self._failed:
            self._failed = True
            self._reply.end()
            self._stop()

    async def _complete(self) -> None:
        """What belongs to a frame that is not cut."""
        historic = None
        if self._historic.size:
            historic = pa.Table.from_batches(self._historics, self._historic.finish())
        self._order = replace(self._order, historic=historic, geo=await self._geo.finish())

    async def _take(self, batch: pa.RecordBatch) -> None:
        if self._pieces is None and not self._futures:
            self._choose(batch.schema)
        if self._pieces is None:
            self._futures.append(batch)
            return
        for piece in self._pieces.add(batch):
            await self._give(piece)

    async def _give(self, table: pa.Table) -> None:
        """Begins to predict. Nothing more is predicted of what has failed."""
        await self._room.acquire()
        if self._failed:
            self._room.release()
            return
        task = asyncio.create_task(self._predict(table, self._given), name=f"predict stream call {self._call} piece {self._given}")
        self._given += 1
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        self._under_way.put_nowait(task)

    def _forget(self, task: asyncio.Task[Predicted]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # told already, if another piece failed first

    def _choose(self, schema: pa.Schema) -> None:
        """Whether the frame is predicted as it arrives. What its horizon is may only show at its end."""
        horizon_is_known = PERIOD not in schema.names or "prediction_periods" in self._order.run_info
        if self._rows_are_independent and horizon_is_known and not self._historic.size and not self._geo.size:
            self._pieces = Pieces(self._least_piece)
        else:
            self._collect()

    def _collect(self) -> None:
        self._future.tighten(self._collected)

    async def _answer(self) -> None:
        try:
            with self._answering_errors():
                await self._answer_pieces()
        finally:
            self._future.close()
            self._historic.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer_pieces(self) -> None:
        """Answers with what the pieces have become."""
        parts: FrameParts | None = None
        while (task := await self._under_way.get()) is not None:
            predicted = await task
            self._spent.add(predicted)
            table = predicted.table
            parts = parts or FrameParts(table.schema)
            await self._put(parts.add(table))
            self._room.release()
        assert parts is not None
        await self._put(parts.rest())
        self._reply.end(end_part(self._call, self._spent.message()))

    async def _predict(self, table: pa.Table, number: int) -> Predicted:
        order = replace(self._order, future=table, is_piece=self._pieces is not None)
        while True:
            try:
                return await self._prediction.predict(order)
            except Overloaded:
                if number == 0:
                    raise
                await asyncio.sleep(PATIENCE)

    async def _put(self, parts: Iterator[list[Any]]) -> None:
        for part in parts:
            await self._reply.room()
            self._reply.put(predictions_part(self._call, part))

    @contextmanager
    def _answering_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not self._failed:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._failed = True
        self._reply.end(error_part(self._call, status_of(error)))
        self._stop()

    def _stop(self) -> None:
        """Lets go of what has arrived as well: the task keeps its error, and that keeps this."""
        self._futures.clear()
        self._historics.clear()
        self._geo.take()
        if self._pieces is not None:
            self._pieces = Pieces()
        self._room.release()  # whoever reads shall not wait
        self.task.cancel()


async def _read(stream: FrameStream, chunk: memoryview) -> list[pa.RecordBatch]:
    if not stream.feed(chunk):
        return []
    return await asyncio.to_thread(list, stream.batches()) if stream.is_costly else list(stream.batches())


def order_of(header: pb.PredictRequest) -> PredictOrder:
    """All of an order but the frames and the GeoJSON. Raises InvalidField, InvalidId."""
    findings = Findings()
    model = findings.model("model", header.model)
    findings.absent(header, "historic", "future", "geo", why=IN_CHUNKS)
    if header.form == frame_pb2.FRAME_FORM_TABLE:
        findings.add("form", "must be Arrow for a prediction that comes in chunks")
    findings.settle()
    return PredictOrder(
        model=model,
        future=None,
        run_info=run_info_of(header.run_info),
        schema_policy=POLICIES[header.schema_policy],
        engine=header.engine,
    )


def may_be_cut(model: LoadedModel) -> bool:
    """Whether rows may be predicted without the others. A script would be started for each piece."""
    runner = model.runner
    return runner.independent_rows and not runner.info.requires_geo and not model.is_workspace
