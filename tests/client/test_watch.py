"""Watching jobs over connections that break, stand still, repeat and end early."""
# ruff: noqa: N802 - servicers have the names of the contract

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from modelwire import (
    ArtifactEvent,
    AsyncClient,
    Client,
    DeadlineExceeded,
    Event,
    Job,
    JobCanceled,
    JobFailed,
    LogEvent,
    MetricEvent,
    Model,
    NotFound,
    ProgressEvent,
    StageEvent,
    StateEvent,
    Unavailable,
)
from modelwire.v1 import artifact_pb2, artifact_service_pb2, error_pb2, job_service_pb2
from modelwire.v1.artifact_service_pb2_grpc import ArtifactServiceServicer
from modelwire.v1.job_service_pb2_grpc import JobServiceServicer

Part = job_service_pb2.JobEvent | Callable[[grpc.ServicerContext], None]


def event(sequence: int, **payload: Any) -> job_service_pb2.JobEvent:
    return job_service_pb2.JobEvent(job_id="J", sequence=sequence, **payload)


def log(sequence: int) -> job_service_pb2.JobEvent:
    return event(sequence, log=job_service_pb2.LogLine(text=f"line {sequence}", source=job_service_pb2.LOG_SOURCE_STDOUT))


def heartbeat(sequence: int) -> job_service_pb2.JobEvent:
    return event(sequence, heartbeat=job_service_pb2.Heartbeat())


def ended(sequence: int, status: Any = job_service_pb2.JOB_STATUS_COMPLETED) -> job_service_pb2.JobEvent:
    return event(sequence, state=job_service_pb2.StateChanged(status=status))


def breaks(code: grpc.StatusCode) -> Callable[[grpc.ServicerContext], None]:
    return lambda context: context.abort(code, "as told")


def stands_still(context: grpc.ServicerContext) -> None:
    """Until the client goes away."""
    gone = threading.Event()
    if context.add_callback(gone.set):
        gone.wait(20)


class Watched(JobServiceServicer, ArtifactServiceServicer):
    """Answers each WatchJob with the next of its scripts."""

    def __init__(self, *scripts: list[Part], job: job_service_pb2.Job | None = None) -> None:
        self._scripts = iter(scripts)
        self.requests: list[job_service_pb2.WatchJobRequest] = []
        self.canceled: list[str] = []
        self.ends: list[threading.Event] = []
        self._job = job or job_service_pb2.Job(
            id="J", kind=job_service_pb2.JOB_KIND_TRAIN, status=job_service_pb2.JOB_STATUS_RUNNING, artifact_id="M"
        )

    def WatchJob(self, request: job_service_pb2.WatchJobRequest, context: Any) -> Iterator[job_service_pb2.WatchJobResponse]:
        self.requests.append(request)
        self.ends.append(threading.Event())
        assert context.add_callback(self.ends[-1].set)
        for part in next(self._scripts):
            if not isinstance(part, job_service_pb2.JobEvent):
                part(context)
                continue
            if part.HasField("state"):
                self._job.status = part.state.status
            yield job_service_pb2.WatchJobResponse(event=part)

    def GetJob(self, request: Any, context: Any) -> job_service_pb2.GetJobResponse:
        return job_service_pb2.GetJobResponse(job=self._job)

    def CancelJob(self, request: job_service_pb2.CancelJobRequest, context: Any) -> job_service_pb2.CancelJobResponse:
        self.canceled.append(request.message)
        return job_service_pb2.CancelJobResponse(job=self._job)

    def GetArtifact(self, request: Any, context: Any) -> artifact_service_pb2.GetArtifactResponse:
        data = artifact_pb2.ArtifactData(type="ml_training")
        return artifact_service_pb2.GetArtifactResponse(artifact=artifact_pb2.Artifact(id=request.artifact_id, data=data))


def watch(target: str, **options: Any) -> list[Event]:
    with Client(target) as client:
        return list(client.jobs.get("J").watch(**options))


def watch_async(target: str, **options: Any) -> list[Event]:
    async def collect() -> list[Event]:
        async with AsyncClient(target) as client:
            job = await client.jobs.get("J")
            return [event async for event in job.watch(**options)]

    return asyncio.run(collect())


both = pytest.mark.parametrize("watch", [watch, watch_async], ids=["blocking", "asyncio"])
Watch = Callable[..., list[Event]]


@both
def test_events_are_typed_and_heartbeats_hidden(serve: Any, watch: Watch) -> None:
    script: list[Part] = [
        event(1, stage=job_service_pb2.StageChanged(stage="training")),
        heartbeat(1),
        event(2, progress=job_service_pb2.ProgressReported(fraction=0.5, message="half")),
        log(3),
        event(4, metric=job_service_pb2.MetricReported(name="loss", value=0.1)),
        event(5, metric=job_service_pb2.MetricReported(name="loss", value=0.1, step=0)),
        event(6, artifact=job_service_pb2.ArtifactMade(artifact_id="M", type="ml_training", content_size=9)),
        ended(7),
    ]
    events = watch(serve(Watched(script)))
    kinds = [StageEvent, ProgressEvent, LogEvent, MetricEvent, MetricEvent, ArtifactEvent, StateEvent]
    assert [type(event) for event in events] == kinds
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6, 7]
    assert isinstance(events[2], LogEvent)
    assert (events[2].source, events[2].text) == ("stdout", "line 3")
    assert [event.step for event in events if isinstance(event, MetricEvent)] == [None, 0]
    assert isinstance(events[6], StateEvent)
    assert events[6].status == "completed"


BREAKS = [
    *(breaks(getattr(grpc.StatusCode, name)) for name in ("UNAVAILABLE", "INTERNAL", "UNKNOWN", "CANCELLED", "RESOURCE_EXHAUSTED")),
]


@both
def test_a_broken_stream_loses_nothing_and_repeats_nothing(serve: Any, watch: Watch) -> None:
    servicer = Watched(
        [log(1), log(2), BREAKS[0]],
        [BREAKS[1]],
        [log(2), log(3), heartbeat(3), BREAKS[2]],  # says again what was said
        [log(4), BREAKS[3]],
        [BREAKS[4]],
        [log(5), ended(6)],
    )
    events = watch(serve(servicer))
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6]
    assert [request.after_sequence for request in servicer.requests] == [0, 2, 2, 3, 4, 4]


@both
def test_a_connection_that_stands_still_is_given_up(serve: Any, watch: Watch) -> None:
    servicer = Watched([log(1), stands_still], [ended(2)])
    begin = time.monotonic()
    events = watch(serve(servicer), heartbeat=0.1)
    assert [event.sequence for event in events] == [1, 2]
    assert time.monotonic() - begin < 5
    assert servicer.requests[0].heartbeat_interval.ToMilliseconds() == 100


def test_a_slow_reader_is_not_a_connection_that_stands_still(serve: Any) -> None:
    servicer = Watched([log(1), ended(2)])
    target = serve(servicer)
    with Client(target) as client:
        events = client.jobs.watch("J", heartbeat=0.05)
        next(events)
        threading.Event().wait(0.4)
        assert [event.sequence for event in events] == [2]
    assert len(servicer.requests) == 1


@both
def test_watching_goes_on_where_it_is_told_to(serve: Any, watch: Watch) -> None:
    servicer = Watched([log(3), ended(4)])
    assert [event.sequence for event in watch(serve(servicer), after=2)] == [3, 4]
    assert servicer.requests[0].after_sequence == 2


@both
def test_a_watch_after_the_end_is_empty(serve: Any, watch: Watch) -> None:
    assert watch(serve(Watched([])), after=7) == []


@both
def test_reconnecting_has_an_end(serve: Any, watch: Watch) -> None:
    servicer = Watched(*itertools.repeat([BREAKS[0]], 100))
    with pytest.raises(Unavailable, match="as told"):
        watch(serve(servicer), reconnect_for=0.5)
    assert len(servicer.requests) > 1


@both
def test_what_the_server_means_is_not_tried_again(serve: Any, watch: Watch) -> None:
    def refuses(context: Any) -> None:
        info = error_details_pb2.ErrorInfo(reason="JOB_NOT_FOUND", domain="modelwire")
        status = status_pb2.Status(code=code_pb2.NOT_FOUND, message="no job J")
        status.details.add().Pack(info)
        context.abort_with_status(rpc_status.to_status(status))

    servicer = Watched([log(1), refuses])
    with pytest.raises(NotFound, match="no job J") as caught:
        watch(serve(servicer))
    assert caught.value.reason == "JOB_NOT_FOUND"
    assert caught.value.__cause__ is None
    assert len(servicer.requests) == 1


def test_leaving_a_watch_ends_its_call(serve: Any) -> None:
    servicer = Watched([log(1), stands_still])
    with Client(serve(servicer)) as client:
        for _ in client.jobs.watch("J"):
            break
        assert servicer.ends[-1].wait(10)


def test_leaving_a_watch_on_asyncio_ends_its_call(serve: Any) -> None:
    servicer = Watched([log(1), stands_still])

    async def scenario() -> None:
        async with AsyncClient(serve(servicer)) as client:
            async for _ in client.jobs.watch("J"):
                break
            assert await asyncio.to_thread(servicer.ends[-1].wait, 10)

    asyncio.run(scenario())


def test_a_job_follows_its_events(serve: Any) -> None:
    script: list[Part] = [
        event(1, state=job_service_pb2.StateChanged(status=job_service_pb2.JOB_STATUS_RUNNING, stage="starting", attempt=1)),
        event(2, progress=job_service_pb2.ProgressReported(fraction=0.5)),
        event(3, stage=job_service_pb2.StageChanged(stage="saving")),
        ended(4),
    ]
    with Client(serve(Watched(script))) as client:
        job = client.jobs.get("J")
        seen = [(job.status, job.stage, job.progress) for _ in job.watch()]
    assert seen == [
        ("running", "starting", None),
        ("running", "starting", 0.5),
        ("running", "saving", 0.5),
        ("completed", "saving", 0.5),
    ]
    words = "id='J', kind='train', status='completed', stage='saving', progress=0.5, artifact_id='M', error='', reason=''"
    assert repr(job) == f"Job({words})"


def test_waiting_returns_the_model(serve: Any) -> None:
    seen: list[int] = []
    with Client(serve(Watched([log(1), BREAKS[0]], [ended(2)]))) as client:
        job: Job[Model] = client.jobs.get("J")
        model = job.wait(progress=lambda event: seen.append(event.sequence))
    assert (type(model), model.id) == (Model, "M")
    assert seen == [1, 2]
    assert job.status == "completed"


def test_waiting_for_a_job_that_has_ended_needs_no_watch(serve: Any) -> None:
    job = job_service_pb2.Job(
        id="J",
        kind=job_service_pb2.JOB_KIND_TRAIN,
        status=job_service_pb2.JOB_STATUS_FAILED,
        stage="training",
        error="ValueError: no rain",
        error_traceback="Traceback: train.py, line 7",
        error_reason=error_pb2.ERROR_REASON_RUNNER_FAILED,
    )
    servicer = Watched(job=job)
    with (
        Client(serve(servicer)) as client,
        pytest.raises(JobFailed, match="job J failed while training: ValueError: no rain") as caught,
    ):
        client.jobs.get("J").wait()
    error = caught.value
    assert (error.job_id, error.error, error.reason) == ("J", "ValueError: no rain", "RUNNER_FAILED")
    assert error.traceback == "Traceback: train.py, line 7"
    assert servicer.requests == []


def test_waiting_for_a_job_that_is_canceled(serve: Any) -> None:
    with Client(serve(Watched([ended(1, job_service_pb2.JOB_STATUS_CANCELED)]))) as client, pytest.raises(JobCanceled):
        client.jobs.get("J").wait()


@pytest.mark.parametrize("cancel", [False, True])
def test_waiting_has_a_deadline(serve: Any, cancel: bool) -> None:
    servicer = Watched([log(1), stands_still])
    with Client(serve(servicer)) as client:
        words = "it is being canceled" if cancel else "it goes on"
        with pytest.raises(DeadlineExceeded, match=f"job J has not ended within 0.3 s; {words}"):
            client.jobs.get("J").wait(timeout=0.3, cancel_on_timeout=cancel)
    assert [request.cancel_on_disconnect for request in servicer.requests] == [cancel]
    assert len(servicer.canceled) == cancel


def test_waiting_on_asyncio_has_a_deadline_and_can_be_canceled(serve: Any) -> None:
    servicer = Watched([log(1), stands_still], [log(1), stands_still])

    async def scenario() -> None:
        async with AsyncClient(serve(servicer)) as client:
            job = await client.jobs.get("J")
            with pytest.raises(DeadlineExceeded):
                await job.wait(timeout=0.3)
            begun = asyncio.Event()
            task = asyncio.create_task(job.wait(progress=lambda event: begun.set()))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(servicer.ends[-1].wait, 10)

    asyncio.run(scenario())


def test_a_server_that_comes_back_is_found_again(serve: Any) -> None:
    """The whole server goes away in the middle, not only the stream."""
    from concurrent.futures import ThreadPoolExecutor

    from modelwire.v1.job_service_pb2_grpc import add_JobServiceServicer_to_server

    def start(servicer: Watched, port: int = 0) -> tuple[grpc.Server, int]:
        server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
        add_JobServiceServicer_to_server(servicer, server)
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        return server, bound

    first, port = start(Watched([log(1), stands_still]))
    with Client(f"127.0.0.1:{port}") as client:
        events = client.jobs.watch("J")
        assert next(events).sequence == 1
        first.stop(0).wait()
        second, _ = start(Watched([log(2), ended(3)]), port)
        try:
            assert [event.sequence for event in events] == [2, 3]
        finally:
            second.stop(0).wait()
