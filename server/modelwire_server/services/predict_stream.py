"""Many predictions on one stream: read ahead, predicted side by side, answered in the order of their ends or as they are done.

One task reads and starts predictions, those together that have arrived together; the call itself writes the answers. When the caller
does not take its answers, or there is much to predict, reading stops, and gRPC's flow control stops the caller.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple

from modelwire.v1 import predict_service_pb2 as pb

from ..errors import Overloaded
from ..frames import FrameLimits
from ..interceptors.errors import status_of
from ..prediction import Prediction
from .chunked import PATIENCE, Chunked
from .receiving import LARGEST_CHUNK, out_of_order
from .stream_answers import Answers, Reply
from .stream_messages import Part, error_part, read_parts, whole_part
from .together import Alike, Likeness, Together


class Whole(NamedTuple):
    """A prediction that came in one message; `alike` is what it shares with others, if it may be computed with them."""

    call: int
    request: pb.PredictRequest
    reply: Reply
    alike: Alike | None


class PredictStream:
    """One stream. `answer` answers a prediction that came in one message, `together` several of them."""

    def __init__(
        self,
        *,
        prediction: Prediction,
        answer: Callable[[pb.PredictRequest], Awaitable[pb.PredictResponse]],
        together: Together,
        limits: FrameLimits,
        max_bytes: int,
        max_geo_bytes: int,
    ) -> None:
        """`limits` are those of a frame that is predicted as it arrives; one that is collected has at most `max_bytes`."""
        self._prediction = prediction
        self._answer = answer
        self._together = together
        self._of_frames: dict[str, Any] = {"limits": limits, "max_bytes": max_bytes, "max_geo_bytes": max_geo_bytes}
        self._open: tuple[int, Chunked] | None = None
        self._last_call: int | None = None
        self._is_new = True
        self._answers = Answers()
        self._tasks: set[asyncio.Task[None]] = set()
        # What has come in the latest turns of the event loop, and is to be begun.
        self._gathered: list[Whole] = []
        self._next_turn: asyncio.Handle | None = None

    async def serve(self, messages: AsyncIterator[bytes], write: Callable[[Sequence[bytes]], Awaitable[None]]) -> None:
        """Answers until the caller has sent its last part. Raises InvalidField for parts that do not fit together, once what was asked
        before is answered."""
        reader = asyncio.create_task(self._read(messages), name="predict stream")
        try:
            await self._answers.write(write)
            await reader
        finally:
            await self._end(reader)
            # An error of its refers to this frame: what came last would stay in memory until the collector finds the two.
            del reader

    async def _end(self, reader: "asyncio.Task[None]") -> None:
        if self._next_turn is not None:
            self._next_turn.cancel()
        under_way = {reader, *self._tasks}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _read(self, messages: AsyncIterator[bytes]) -> None:
        try:
            async for message in messages:
                for part in read_parts(message):
                    await self._take(part)
                    if self._answers.is_full:
                        await self._answers.room()
            if self._open is not None:
                raise out_of_order("end", f"of call {self._open[0]} is needed: the stream ended without")
        finally:
            if self._open is not None:
                self._open[1].give_up()
            self._answers.close()

    async def _take(self, part: Part) -> None:
        is_first, self._is_new = self._is_new, False
        match part.name:
            case None:
                raise out_of_order("part", "is needed in every message")
            case "whole":
                self._begin(part.call)
                self._gather(part)
            case "header":
                await self._start(part)
            case "end":
                await self._finish(part.call)
            case "options":
                if not is_first:
                    raise out_of_order("options", "must be in the first message of the stream")
                self._answers.in_order = not part.content.out_of_order
                self._answers.are_bundled = part.content.bundled
            case "bundle":
                raise out_of_order("bundle", "must not be within a bundle")
            case name:
                if len(part.content) > LARGEST_CHUNK:
                    raise out_of_order(name, f"has {len(part.content):,} bytes in one chunk; at most {LARGEST_CHUNK:,} are allowed")
                await self._current(part.call).add(name, part.content)

    def _begin(self, call: int) -> None:
        if self._open is not None:
            raise out_of_order("call", f"{call} begins before the end of call {self._open[0]}")
        if self._last_call is not None and call <= self._last_call:
            raise out_of_order("call", f"{call} is not greater than the call before, {self._last_call}")
        self._last_call = call

    def _current(self, call: int) -> Chunked:
        if self._open is None or self._open[0] != call:
            raise out_of_order("call", f"{call} has not begun: send its header first")
        return self._open[1]

    async def _start(self, part: Part) -> None:
        self._begin(part.call)
        chunked = Chunked(part.call, part.content, self._answers.begin(), self._prediction, **self._of_frames)
        self._watch(chunked.task)
        self._open = part.call, chunked
        await chunked.begin()

    async def _finish(self, call: int) -> None:
        chunked = self._current(call)
        self._open = None
        await chunked.finish()
        if chunked.is_collected:  # it may be large: nothing more is read until its answer is taken
            await self._answers.taken()

    def _gather(self, part: Part) -> None:
        if not self._gathered:
            self._next_turn = asyncio.get_running_loop().call_soon(self._go_on_gathering, 0)
        self._gathered.append(Whole(part.call, part.content, self._answers.begin(part.size), self._together.alike(part.content)))

    def _go_on_gathering(self, before: int) -> None:
        """As long as each turn brings more."""
        if len(self._gathered) > before:
            self._next_turn = asyncio.get_running_loop().call_soon(self._go_on_gathering, len(self._gathered))
        else:
            self._begin_gathered()

    def _begin_gathered(self) -> None:
        gathered, self._gathered = self._gathered, []
        for wholes in self._sorted(gathered):
            self._watch(asyncio.create_task(self._wholes(wholes), name=f"predict stream call {wholes[0].call}"))

    def _sorted(self, gathered: Sequence[Whole]) -> Iterator[list[Whole]]:
        """Each by itself, or as many as are computed together."""
        groups: dict[Likeness, list[Whole]] = {}
        for whole in gathered:
            if whole.alike is None:
                yield [whole]
                continue
            likeness = whole.alike.likeness
            group = groups.setdefault(likeness, [])
            group.append(whole)
            if len(group) >= self._together.most(likeness):
                yield groups.pop(likeness)
        yield from groups.values()

    def _watch(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wholes(self, wholes: Sequence[Whole]) -> None:
        answers = await self._shared(wholes)
        if answers is None:
            await asyncio.gather(*map(self._whole, wholes))
            return
        for whole, answer in zip(wholes, answers, strict=True):
            whole.reply.end(whole_part(whole.call, answer))

    async def _shared(self, wholes: Sequence[Whole]) -> list[bytes] | None:
        """The answers of predictions that are computed together; None if each is to be answered by itself."""
        alike = [whole.alike for whole in wholes if whole.alike is not None]
        return await self._together.answer(alike[0].likeness, [one.frame for one in alike]) if len(alike) > 1 else None

    async def _whole(self, whole: Whole) -> None:
        try:
            response = await self._in_turn(whole.request)
        except Exception as error:
            whole.reply.end(error_part(whole.call, status_of(error)))
        else:
            whole.reply.end(whole_part(whole.call, response.SerializeToString()))

    async def _in_turn(self, request: pb.PredictRequest) -> pb.PredictResponse:
        """A busy model refuses calls; the predictions of a stream wait instead, as long as there are others before them."""
        while True:
            try:
                return await self._answer(request)
            except Overloaded:
                if self._answers.calls == 1:
                    raise
                await asyncio.sleep(PATIENCE)
