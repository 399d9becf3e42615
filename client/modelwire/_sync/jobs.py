# Generated from ../_async by scripts/generate_client.py. Do not edit.

"""Jobs: watching them, waiting for them, stopping them."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from modelwire._sync.watching import HEARTBEAT, MISSED_HEARTBEATS, Watch
from modelwire.errors import DeadlineExceeded, JobCanceled, JobFailed, ModelwireError
from modelwire.events import Event, JobStatus, ProgressEvent, StageEvent, StateEvent, event_of
from modelwire.progress import open_display
from modelwire.records import JobRecord, job_fields
from modelwire.v1 import job_service_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelwire._sync.connection import Connection

ResultT = TypeVar("ResultT")


@dataclass(kw_only=True)
class Job(JobRecord, Generic[ResultT]):
    """One piece of asynchronous work on the server; `ResultT` is what it makes.

    The fields tell what was known last: `refresh`, `watch` and `wait` bring them up to date.
    """

    _connection: Connection = field(repr=False, compare=False)

    def refresh(self) -> Job[ResultT]:
        """Asks the server how the job is; answers with itself."""
        answer = self._connection.call(self._connection.stubs.jobs.GetJob, job_service_pb2.GetJobRequest(job_id=self.id))
        return self._take(answer.job)

    def _take(self, job: job_service_pb2.Job) -> Job[ResultT]:
        for name, value in job_fields(job).items():
            setattr(self, name, value)
        return self

    def watch(self, after: int = 0, *, heartbeat: float = HEARTBEAT, reconnect_for: float | None = None) -> Iterator[Event]:
        """Yields the events after sequence `after`, then each new one as it happens, until the job has ended.

        A broken connection is made again, for `reconnect_for` seconds (default: the client's) without any sign of life; no event
        is lost and none comes twice. `heartbeat` is the interval in seconds, 1 to 300, at which the server shows that it lives.
        """
        watch = watch_job(self._connection, self.id, after=after, heartbeat=heartbeat, reconnect_for=reconnect_for)
        with closing(watch.events()) as events:
            for event in events:
                self._follow(event)
                yield event

    def _follow(self, event: Event) -> None:
        if event.sequence <= self.last_sequence:
            return
        self.last_sequence = event.sequence
        match event:
            case StateEvent():
                self.status, self.attempt, self.stage = event.status, event.attempt, event.stage or self.stage
            case StageEvent():
                self.stage = event.stage
            case ProgressEvent():
                self.progress = event.fraction

    def wait(
        self,
        timeout: float | None = None,
        *,
        progress: bool | Callable[[Event], object] = False,
        cancel_on_timeout: bool = False,
    ) -> ResultT:
        """Waits for the end, and returns what the job made: a Model if it trained, else an Artifact.

        `progress=True` shows a progress bar (plain lines where there is no terminal); a function is called with each event.
        After `timeout` seconds DeadlineExceeded is raised and the job goes on, unless `cancel_on_timeout`: then the server stops
        the job at that time, and also when this call ends earlier or loses its connection. Raises JobFailed and JobCanceled.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        display = open_display(progress, self.id)
        try:
            self._follow_to_end(deadline, cancel_on_timeout, display.show if display else None)
        except DeadlineExceeded:
            self._time_is_over(timeout, cancel_on_timeout)
        finally:
            if display:
                display.close()
        self.refresh()
        return self.result()

    def _follow_to_end(self, deadline: float | None, cancel: bool, show: Callable[[Event], object] | None) -> None:
        if show is None:
            self.refresh()
            if self.status.is_final:
                return
        after = self.last_sequence if show is None else 0
        watch = watch_job(self._connection, self.id, after=after, deadline=deadline, cancel_on_disconnect=cancel)
        with closing(watch.events()) as events:
            for event in events:
                self._follow(event)
                if show is not None:
                    show(event)

    def _time_is_over(self, timeout: float | None, cancel: bool) -> None:
        if cancel:
            self.cancel("the caller's time to wait is over")
        fate = "it is being canceled" if cancel else "it goes on"
        raise DeadlineExceeded(f"job {self.id} has not ended within {timeout} s; {fate}") from None

    def result(self) -> ResultT:
        """What the job made: a Model if it trained, else an Artifact.

        Raises JobFailed, JobCanceled, and ModelwireError if the job has not ended as far as is known.
        """
        from modelwire._sync.artifacts import Artifacts
        from modelwire._sync.models import Models

        match self.status:
            case JobStatus.COMPLETED:
                resource: Any = Models if self.kind == "train" else Artifacts
                made: ResultT = resource(self._connection).get(self.artifact_id)
                return made
            case JobStatus.FAILED:
                text = f"job {self.id} failed while {self.stage}: {self.error}"
                raise JobFailed(text, job_id=self.id, error=self.error, traceback=self.traceback, reason=self.reason)
            case JobStatus.CANCELED:
                raise JobCanceled(f"job {self.id} was canceled: {self.error or 'somebody asked for it'}", job_id=self.id)
            case _:
                raise ModelwireError(f"job {self.id} is {self.status}: wait for its end")

    def cancel(self, message: str = "") -> Job[ResultT]:
        """Asks the server to stop the job; answers with itself at once. Wait or watch to see the end."""
        request = job_service_pb2.CancelJobRequest(job_id=self.id, message=message)
        answer = self._connection.call(self._connection.stubs.jobs.CancelJob, request)
        return self._take(answer.job)

    def delete(self) -> None:
        """Cancels the job if need be, waits for its end, and forgets it. What it made stays."""
        Jobs(self._connection).delete(self.id)


class Jobs:
    """`client.jobs`: the jobs of the server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _job(self, job: job_service_pb2.Job) -> Job[Any]:
        return Job(**job_fields(job), _connection=self._connection)

    def get(self, job_id: str) -> Job[Any]:
        """One job. Raises NotFound."""
        answer = self._connection.call(self._connection.stubs.jobs.GetJob, job_service_pb2.GetJobRequest(job_id=job_id))
        return self._job(answer.job)

    def list(
        self,
        *,
        status: JobStatus | str = "",
        kind: Literal["", "train", "predict"] = "",
        runner: str = "",
        config: str = "",
        limit: int | None = None,
    ) -> Iterator[Job[Any]]:
        """Yields the jobs that fit, newest first, at most `limit`."""
        request = job_service_pb2.ListJobsRequest(runner_id=runner, config_id=config)
        if status:
            request.status_filter = job_service_pb2.JobStatus.Value(f"JOB_STATUS_{status.upper()}")
        if kind:
            request.kind = job_service_pb2.JobKind.Value(f"JOB_KIND_{kind.upper()}")
        for job in self._connection.pages(self._connection.stubs.jobs.ListJobs, request, "jobs", limit):
            yield self._job(job)

    def watch(self, job_id: str, after: int = 0, *, heartbeat: float = HEARTBEAT) -> Iterator[Event]:
        """The events of a job, as Job.watch gives them."""
        with closing(watch_job(self._connection, job_id, after=after, heartbeat=heartbeat).events()) as events:
            yield from events

    def cancel(self, job_id: str, message: str = "") -> Job[Any]:
        """Asks the server to stop a job; answers at once with the job as it is."""
        request = job_service_pb2.CancelJobRequest(job_id=job_id, message=message)
        answer = self._connection.call(self._connection.stubs.jobs.CancelJob, request)
        return self._job(answer.job)

    def delete(self, job_id: str) -> None:
        """Cancels a job if need be, waits for its end, and forgets it. What it made stays."""
        request = job_service_pb2.DeleteJobRequest(job_id=job_id)
        self._connection.call(self._connection.stubs.jobs.DeleteJob, request)


def watch_job(
    connection: Connection,
    job_id: str,
    *,
    after: int = 0,
    heartbeat: float = HEARTBEAT,
    reconnect_for: float | None = None,
    deadline: float | None = None,
    cancel_on_disconnect: bool = False,
) -> Watch[Event]:
    """The events of a job after a sequence. `deadline` is a time of time.monotonic(); the other times are seconds."""
    request = job_service_pb2.WatchJobRequest(job_id=job_id, after_sequence=after, cancel_on_disconnect=cancel_on_disconnect)
    request.heartbeat_interval.FromNanoseconds(int(heartbeat * 1e9))
    return Watch(
        connection,
        connection.stubs.jobs.WatchJob,
        request,
        read=lambda answer: (answer.event.sequence, event_of(answer.event)),
        is_last=lambda event: isinstance(event, StateEvent) and event.status.is_final,
        idle=heartbeat * MISSED_HEARTBEATS,
        reconnect_for=reconnect_for,
        deadline=deadline,
    )
