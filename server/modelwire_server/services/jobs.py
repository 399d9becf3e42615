"""JobService: reads, watches and stops jobs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from structlog.contextvars import bind_contextvars

from modelwire.v1 import job_service_pb2 as pb
from modelwire.v1.job_service_pb2_grpc import JobServiceServicer

from ..clock import now
from ..errors import JobNotFound
from ..interceptors.around import Context
from ..jobs.desk import JobDesk
from ..jobs.model import Event, EventKind, JobStatus
from .checks import LONGEST_MESSAGE, Findings
from .messages import KINDS, STATUSES, event_message, heartbeat, job_message

SHORTEST_HEARTBEAT, LONGEST_HEARTBEAT = 1.0, 300.0
_STATUS_OF = {number: status for status, number in STATUSES.items()}
_KIND_OF = {number: kind for kind, number in KINDS.items()}


class JobServicer(JobServiceServicer):
    def __init__(self, jobs: JobDesk, *, heartbeat_seconds: float) -> None:
        self._jobs = jobs
        self._heartbeat_seconds = heartbeat_seconds
        self._cancels: set[asyncio.Task[None]] = set()

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:
        return pb.GetJobResponse(job=job_message(await self._jobs.get(job_id_of(request))))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        findings = Findings()
        page = findings.page(request)
        config_id = findings.optional_id("config_id", request.config_id)
        if request.status_filter and request.status_filter not in _STATUS_OF:
            findings.add("status_filter", f"{request.status_filter} is no status")
        if request.kind and request.kind not in _KIND_OF:
            findings.add("kind", f"{request.kind} is no kind of job")
        findings.settle()
        found = await self._jobs.list(
            page,
            status=_STATUS_OF.get(request.status_filter),
            kind=_KIND_OF.get(request.kind),
            runner_id=request.runner_id,
            config_id=config_id,
        )
        return pb.ListJobsResponse(
            jobs=[job_message(job) for job in found.items],
            next_page_token=found.next_page_token,
            total_size=found.total_size,
        )

    async def WatchJob(self, request: pb.WatchJobRequest, context: Context) -> AsyncIterator[pb.WatchJobResponse]:
        findings = Findings()
        job_id = findings.id("job_id", request.job_id)
        last = findings.not_negative("after_sequence", request.after_sequence)
        interval = findings.seconds("heartbeat_interval", request, least=SHORTEST_HEARTBEAT, most=LONGEST_HEARTBEAT)
        findings.settle()
        bind_contextvars(job_id=job_id)
        over = not request.cancel_on_disconnect
        try:
            async for event in self._jobs.watch(job_id, last, heartbeat=interval or self._heartbeat_seconds):
                if event is None:
                    yield pb.WatchJobResponse(event=heartbeat(job_id, last, now()))
                    continue
                last, over = event.sequence, over or ends_the_job(event)
                yield pb.WatchJobResponse(event=event_message(event))
            over = True
        except JobNotFound:
            over = True
            raise
        finally:
            if not over:
                await self._cancel(job_id)

    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> pb.CancelJobResponse:
        findings = Findings()
        job_id = findings.id("job_id", request.job_id)
        message = findings.text("message", request.message, LONGEST_MESSAGE)
        findings.settle()
        return pb.CancelJobResponse(job=job_message(await self._jobs.cancel(job_id, message)))

    async def DeleteJob(self, request: pb.DeleteJobRequest, context: Context) -> pb.DeleteJobResponse:
        await self._jobs.delete(job_id_of(request))
        return pb.DeleteJobResponse()

    async def _cancel(self, job_id: str) -> None:
        """Cancels a job whose watcher has left. The call itself may be canceled once more meanwhile; this goes on."""
        task = asyncio.create_task(self._cancel_if_there(job_id), name=f"cancel {job_id}")
        self._cancels.add(task)
        task.add_done_callback(self._cancels.discard)
        await asyncio.shield(task)

    async def _cancel_if_there(self, job_id: str) -> None:
        with suppress(JobNotFound):
            await self._jobs.cancel(job_id, "the caller that waited for the job has left")


def job_id_of(request: pb.GetJobRequest | pb.DeleteJobRequest) -> str:
    findings = Findings()
    job_id = findings.id("job_id", request.job_id)
    findings.settle()
    bind_contextvars(job_id=job_id)
    return job_id


def ends_the_job(event: Event) -> bool:
    return event.kind is EventKind.STATE and JobStatus(event.data["status"]).is_final
