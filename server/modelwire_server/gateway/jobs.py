"""The stream of a job as REST clients know it: the job again and again, until it has ended."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.responses import Response

from modelwire.v1 import job_service_pb2 as pb

from .calls import CallFailed
from .exchange import Exchange
from .parsing import InvalidRequest
from .streams import LAST_EVENT_ID, NDJSON, begun, data, line, streaming

# A job that is deleted is canceled first, so that who hears of the one waits a little for the other.
DELETION_SECONDS = 0.2
DEFAULT_INTERVAL, LONGEST_INTERVAL = 0.5, 60.0
_GET = pb.DESCRIPTOR.services_by_name["JobService"].methods_by_name["GetJob"]
_FINAL = (pb.JOB_STATUS_COMPLETED, pb.JOB_STATUS_FAILED, pb.JOB_STATUS_CANCELED)


async def watch(exchange: Exchange) -> Response:
    """The job every `poll_interval` seconds; a client that resumes a stream of events gets events, as at the other path."""
    if exchange.method.response_body:
        return await streaming(exchange, "event")
    interval = interval_of(exchange, DEFAULT_INTERVAL)
    if LAST_EVENT_ID in exchange.request.headers:
        return await streaming(exchange, "event")
    request = await exchange.message()
    job = (await exchange.call(_GET, pb.GetJobRequest(job_id=request.job_id))).job
    lines = exchange.accepts(NDJSON)
    write = line if lines else data
    parts = (write(value) async for value in _repeated(exchange, request, job, interval))
    return await begun(exchange, parts, lines=lines)


def interval_of(exchange: Exchange, default: float) -> float:
    """`poll_interval` of the query. Raises InvalidRequest."""
    return read_interval(exchange.request.query_params.get("poll_interval"), default)


def read_interval(text: str | None, default: float) -> float:
    """Seconds between two messages. Raises InvalidRequest if they are not in (0, 60]."""
    try:
        seconds = default if text is None else float(text)
    except ValueError:
        kind, told = "float_parsing", "Input should be a valid number, unable to parse string as a number"
    else:
        if 0 < seconds <= LONGEST_INTERVAL:
            return seconds
        kind, told = "less_than_equal", f"Input should be less than or equal to {LONGEST_INTERVAL:g}"
        if not seconds > 0:
            kind, told = "greater_than", "Input should be greater than 0"
    raise InvalidRequest([{"type": kind, "loc": ["query", "poll_interval"], "msg": told, "input": text}])


async def _repeated(
    exchange: Exchange, request: pb.WatchJobRequest, job: pb.Job, interval: float
) -> AsyncGenerator[dict[str, Any], None]:
    """The job at once, then at each interval, and at once again when it has ended. It is read again only after an event."""
    news = _News()
    watching = asyncio.create_task(_follow(exchange, request, job.last_sequence, news), name=f"watch {job.id}")
    try:
        while True:
            yield exchange.renderer.message(job)
            if job.status in _FINAL:
                return
            await news.wait(interval)
            if news.failure is not None:
                raise news.failure
            if news.take():
                job = await _read(exchange, job.id)
            if job.status == pb.JOB_STATUS_CANCELED:
                await asyncio.sleep(DELETION_SECONDS)
                job = await _read(exchange, job.id)
    except CallFailed as failure:
        if failure.code.name != "NOT_FOUND":
            raise
        yield {"status": "deleted"}
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def _read(exchange: Exchange, job_id: str) -> pb.Job:
    answer: Any = await exchange.calls.unary(_GET, pb.GetJobRequest(job_id=job_id), exchange.sending)
    job: pb.Job = answer.job
    return job


class _News:
    """What is known of a job's events: that there are new ones, that it has ended, that watching failed."""

    def __init__(self) -> None:
        self._some = False
        self._over = asyncio.Event()
        self.failure: CallFailed | None = None

    def come(self) -> None:
        self._some = True

    def end(self, failure: CallFailed | None = None) -> None:
        self._some, self.failure = True, failure
        self._over.set()

    def take(self) -> bool:
        some, self._some = self._some, False
        return some

    async def wait(self, seconds: float) -> None:
        """Returns after `seconds`, or when the job has ended."""
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return


async def _follow(exchange: Exchange, request: pb.WatchJobRequest, after: int, news: _News) -> None:
    request.after_sequence = after
    try:
        async with aclosing(exchange.stream(exchange.rpc, request)) as answers:
            async for answer in answers:
                event: Any = answer
                if event.event.WhichOneof("payload") != "heartbeat":
                    news.come()
    except CallFailed as failure:
        news.end(failure)
    else:
        news.end()
