"""Many predictions on one stream: read ahead, predicted side by side, answered in the order of their ends.

One task reads and starts predictions; the call itself writes the answers. Between them is a short queue: when the caller does not
take its answers the queue fills up, reading stops, and gRPC's flow control stops the caller. A prediction that came in chunks may be
large, so after one nothing more is read until its answer is taken.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any

import pyarrow as pa

from modelwire.v1 import frame_pb2
from modelwire.v1 import predict_service_pb2 as pb

from ..errors import FieldViolation, InvalidFrame
from ..frames import FrameLimits, read_frame, write_frame_parts
from ..interceptors.errors import status_of
from ..prediction import Prediction, PredictOrder
from .checks import Findings
from .messages import run_info_of
from .receiving import IN_CHUNKS, Collector, GeoReceiver, chunk_of, out_of_order

# So many predictions of a stream are under way or wait for their answer to be taken.
AHEAD = 16

Answer = asyncio.Task[pb.PredictResponse | pa.Table]


class Chunked:
    """A prediction whose frames come in chunks. The first thing that is wrong with it is kept, to be told at its end."""

    def __init__(self, header: pb.PredictRequest, limits: FrameLimits, max_geo_bytes: int) -> None:
        self._limits = limits
        self._header = header
        self._historic = Collector("historic", limits.max_bytes)
        self._future = Collector("future", limits.max_bytes)
        self._geo = GeoReceiver(max_geo_bytes)
        self._parts = {"historic": self._historic, "future": self._future, "geo": self._geo}
        self._failure: Exception | None = None

    async def add(self, part: str, chunk: bytes) -> None:
        if self._failure is not None:
            return
        try:
            await self._parts[part].add(chunk)
        except Exception as error:
            self._failure = error
            for collector in self._parts.values():
                collector.take()

    async def order(self) -> PredictOrder:
        """Raises what is wrong with the prediction."""
        if self._failure is not None:
            raise self._failure
        findings, header = Findings(), self._header
        model = findings.id("model", header.model)
        findings.absent(header, "historic", "future", "geo", why=IN_CHUNKS)
        if header.form == frame_pb2.FRAME_FORM_TABLE:
            findings.add("form", "must be Arrow for a prediction that comes in chunks")
        findings.settle()
        if not self._future.size:
            raise InvalidFrame("future: is needed", violations=[FieldViolation("future", "is needed")], field="future")
        future = await self._read(self._future, "future")
        historic = await self._read(self._historic, "historic") if self._historic.size else None
        run_info = run_info_of(header.run_info)
        return PredictOrder(model=model, future=future, historic=historic, geo=await self._geo.finish(), run_info=run_info)

    async def _read(self, collector: Collector, field: str) -> pa.Table:
        return await asyncio.to_thread(read_frame, collector.take(), self._limits, field)


class PredictStream:
    """One stream. `answer` answers a prediction that came in one message."""

    def __init__(
        self,
        *,
        prediction: Prediction,
        answer: Callable[[pb.PredictRequest], Coroutine[Any, Any, pb.PredictResponse]],
        limits: FrameLimits,
        max_geo_bytes: int,
    ) -> None:
        self._prediction = prediction
        self._answer = answer
        self._limits = limits
        self._max_geo_bytes = max_geo_bytes
        self._open: tuple[int, Chunked] | None = None
        self._last_call = -(1 << 63)
        self._pending: asyncio.Queue[tuple[int, Answer] | None] = asyncio.Queue(AHEAD)

    async def answers(self, messages: AsyncIterator[pb.PredictStreamRequest]) -> AsyncGenerator[pb.PredictStreamResponse, None]:
        """Answers until the caller has sent its last part. Raises InvalidField for parts that do not fit together."""
        reader = asyncio.create_task(self._read(messages), name="predict stream")
        started: set[Answer] = set()
        try:
            while (pending := await self._pending.get()) is not None:
                call, task = pending
                started.add(task)
                async for answer in self._parts(call, task):
                    yield answer
                started.discard(task)
                self._pending.task_done()
            await reader
        finally:
            await self._stop(reader, started)

    async def _stop(self, reader: asyncio.Task[None], started: set[Answer]) -> None:
        reader.cancel()
        while not self._pending.empty():
            if pending := self._pending.get_nowait():
                started.add(pending[1])
        for task in started:
            task.cancel()
        await asyncio.gather(reader, *started, return_exceptions=True)

    async def _read(self, messages: AsyncIterator[pb.PredictStreamRequest]) -> None:
        try:
            async for message in messages:
                await self._take(message)
            if self._open is not None:
                raise out_of_order("end", f"of call {self._open[0]} is needed: the stream ended without")
        finally:
            await self._pending.put(None)

    async def _take(self, message: pb.PredictStreamRequest) -> None:
        match message.WhichOneof("part"):
            case None:
                raise out_of_order("part", "is needed in every message")
            case "whole":
                self._begin(message.call)
                await self._start(message.call, self._answer(message.whole))
            case "header":
                self._begin(message.call)
                self._open = message.call, Chunked(message.header, self._limits, self._max_geo_bytes)
            case "end":
                chunked = self._current(message.call)
                self._open = None
                await self._start(message.call, self._chunked(chunked))
                await self._pending.join()
            case part:
                await self._current(message.call).add(part, chunk_of(message, part))

    def _begin(self, call: int) -> None:
        if self._open is not None:
            raise out_of_order("call", f"{call} begins before the end of call {self._open[0]}")
        if call <= self._last_call:
            raise out_of_order("call", f"{call} is not greater than the call before, {self._last_call}")
        self._last_call = call

    def _current(self, call: int) -> Chunked:
        if self._open is None or self._open[0] != call:
            raise out_of_order("call", f"{call} has not begun: send its header first")
        return self._open[1]

    async def _start(self, call: int, work: Coroutine[Any, Any, Any]) -> None:
        task: Answer = asyncio.create_task(work, name=f"predict stream call {call}")
        try:
            await self._pending.put((call, task))
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def _chunked(self, chunked: Chunked) -> pa.Table:
        return (await self._prediction.predict(await chunked.order())).table

    async def _parts(self, call: int, task: Answer) -> AsyncIterator[pb.PredictStreamResponse]:
        try:
            answer = await task
        except Exception as error:
            yield pb.PredictStreamResponse(call=call, error=status_of(error))
            return
        if isinstance(answer, pb.PredictResponse):
            yield pb.PredictStreamResponse(call=call, whole=answer)
            return
        for part in write_frame_parts(answer):
            yield pb.PredictStreamResponse(call=call, predictions=part)
        yield pb.PredictStreamResponse(call=call, end=pb.PredictStreamEnd())
