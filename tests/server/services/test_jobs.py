"""JobService over the wire: the events of a job are made by hand here."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import grpc
import pyarrow as pa
import pytest
from google.protobuf.duration_pb2 import Duration

from modelwire.v1 import error_pb2, frame_pb2, train_service_pb2
from modelwire.v1 import job_service_pb2 as pb
from modelwire_server.clock import new_id, now
from modelwire_server.frames import write_frame
from modelwire_server.jobs import claims, store
from modelwire_server.jobs.model import EventKind, JobStatus, NewEvent

FRAME = frame_pb2.Frame(arrow=write_frame(pa.table({"x": [1]})))


async def submit(edge: Any) -> str:
    request = train_service_pb2.TrainRequest(config_id=await edge.config(), data=FRAME)
    return (await edge.trainings.Train(request)).job_id


async def start(edge: Any) -> None:
    lease = timedelta(minutes=1)
    await edge.database.write(lambda tx: claims.claim(tx, "worker", runners=["times"], limits={}, total=10, lease=lease))


async def report(edge: Any, job_id: str, events: Sequence[tuple[EventKind, dict[str, Any]]]) -> None:
    new = [NewEvent(kind, data, now()) for kind, data in events]
    await edge.database.write(lambda tx: store.append_events(tx, job_id, new))
    edge.hub.notify(job_id)


async def finish(edge: Any, job_id: str, status: JobStatus = JobStatus.COMPLETED, **why: Any) -> None:
    await edge.database.write(lambda tx: store.finish(tx, job_id, status, **why))
    edge.hub.notify(job_id)


def test_a_job_and_its_end(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        job_id = await submit(edge)
        job = (await edge.jobs.GetJob(pb.GetJobRequest(job_id=job_id.lower()))).job
        assert (job.id, job.status, job.kind, job.runner_id, job.stage) == (
            job_id,
            pb.JOB_STATUS_PENDING,
            pb.JOB_KIND_TRAIN,
            "times",
            "queued",
        )
        assert not job.HasField("started_at")
        await start(edge)
        await finish(edge, job_id, JobStatus.FAILED, reason="RUNNER_FAILED", error="ValueError: no", traceback="Traceback")
        job = (await edge.jobs.GetJob(pb.GetJobRequest(job_id=job_id))).job
        assert (job.status, job.error_reason) == (pb.JOB_STATUS_FAILED, error_pb2.ERROR_REASON_RUNNER_FAILED)
        assert (job.error, job.error_traceback) == ("ValueError: no", "Traceback")
        assert job.HasField("started_at")
        assert job.HasField("finished_at")
        assert (await refusal(edge.jobs.GetJob(pb.GetJobRequest(job_id=new_id())))).reason == "JOB_NOT_FOUND"
        assert (await refusal(edge.jobs.GetJob(pb.GetJobRequest(job_id="x")))).reason == "INVALID_ID"

    run(scenario)


def test_lists_can_be_narrowed(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        made = [await submit(edge) for _ in range(3)]
        await edge.domain.jobs.cancel(made[0])
        listed = await edge.jobs.ListJobs(pb.ListJobsRequest())
        assert ([job.id for job in listed.jobs], listed.total_size) == (made[::-1], 3)
        canceled = await edge.jobs.ListJobs(pb.ListJobsRequest(status_filter=pb.JOB_STATUS_CANCELED))
        assert [job.id for job in canceled.jobs] == made[:1]
        assert (await edge.jobs.ListJobs(pb.ListJobsRequest(kind=pb.JOB_KIND_PREDICT))).total_size == 0
        assert (await edge.jobs.ListJobs(pb.ListJobsRequest(runner_id="other"))).total_size == 0
        wrong = await refusal(edge.jobs.ListJobs(pb.ListJobsRequest(status_filter=99, kind=99, skip=-1, config_id="x")))  # type: ignore[arg-type]
        assert sorted(wrong.fields) == ["config_id", "kind", "skip", "status_filter"]

    run(scenario)


EVENTS = [
    (EventKind.STAGE, {"stage": "training"}),
    (EventKind.PROGRESS, {"fraction": 0.5, "message": "half"}),
    (EventKind.PROGRESS, {"fraction": 0.75}),
    (EventKind.LOG, {"source": "stdout", "text": "hello"}),
    (EventKind.LOG, {"source": "logging", "text": "look", "level": "WARNING", "logger": "mine"}),
    (EventKind.METRIC, {"name": "loss", "value": 0.25, "step": 7}),
    (EventKind.METRIC, {"name": "loss", "value": 0.25}),
    (EventKind.ARTIFACT, {"artifact_id": "A", "type": "ml_training", "content_size": 12}),
]


def test_a_watcher_sees_what_was_and_what_comes(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        job_id = await submit(edge)
        await start(edge)
        await report(edge, job_id, EVENTS[:4])
        call = edge.jobs.WatchJob(pb.WatchJobRequest(job_id=job_id.lower()))
        seen = [(await call.read()).event for _ in range(6)]
        await report(edge, job_id, EVENTS[4:])
        seen += [(await call.read()).event for _ in range(4)]
        await finish(edge, job_id)
        seen += await rest_of(call)
        assert [event.sequence for event in seen] == list(range(1, 12))
        assert {event.job_id for event in seen} == {job_id}
        assert [event.WhichOneof("payload") for event in seen] == [
            "state",
            "state",
            "stage",
            "progress",
            "progress",
            "log",
            "log",
            "metric",
            "metric",
            "artifact",
            "state",
        ]
        assert [event.state.status for event in seen if event.HasField("state")] == [
            pb.JOB_STATUS_PENDING,
            pb.JOB_STATUS_RUNNING,
            pb.JOB_STATUS_COMPLETED,
        ]
        assert (seen[3].progress.fraction, seen[3].progress.message) == (0.5, "half")
        assert seen[5].log == pb.LogLine(source=pb.LOG_SOURCE_STDOUT, text="hello")
        assert seen[6].log == pb.LogLine(source=pb.LOG_SOURCE_LOGGING, text="look", level="WARNING", logger="mine")
        assert seen[7].metric == pb.MetricReported(name="loss", value=0.25, step=7)
        assert not seen[8].metric.HasField("step")
        assert seen[9].artifact == pb.ArtifactMade(artifact_id="A", type="ml_training", content_size=12)
        again = [one.event async for one in edge.jobs.WatchJob(pb.WatchJobRequest(job_id=job_id, after_sequence=9))]
        assert again == seen[9:]

    run(scenario)


def test_a_quiet_job_sends_heartbeats(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        job_id = await submit(edge)
        call = edge.jobs.WatchJob(pb.WatchJobRequest(job_id=job_id))
        assert (await call.read()).event.HasField("state")
        for _ in range(2):
            event = (await call.read()).event
            assert (event.WhichOneof("payload"), event.sequence, event.job_id) == ("heartbeat", 1, job_id)
            assert event.HasField("time")
        call.cancel()

    run(scenario, heartbeat_seconds=0.05)


@pytest.mark.parametrize(
    ("fields", "reason", "wrong"),
    [
        ({"job_id": "x"}, "INVALID_ID", ["job_id"]),
        ({"job_id": new_id()}, "JOB_NOT_FOUND", []),
        ({"job_id": new_id(), "cancel_on_disconnect": True}, "JOB_NOT_FOUND", []),
        ({"after_sequence": -1}, "INVALID_FIELD", ["after_sequence"]),
        ({"heartbeat_interval": Duration(nanos=5)}, "INVALID_FIELD", ["heartbeat_interval"]),
        ({"heartbeat_interval": Duration(seconds=301)}, "INVALID_FIELD", ["heartbeat_interval"]),
    ],
)
def test_what_cannot_be_watched(run: Any, refusal: Any, fields: dict[str, Any], reason: str, wrong: list[str]) -> None:
    async def scenario(edge: Any) -> None:
        found = await refusal(edge.jobs.WatchJob(pb.WatchJobRequest(**{"job_id": new_id(), **fields})))
        assert (found.reason, found.fields) == (reason, wrong)

    run(scenario)


async def rest_of(call: Any) -> list[pb.JobEvent]:
    """The events until the call ends."""
    events = []
    while (answer := await call.read()) is not grpc.aio.EOF:
        events.append(answer.event)
    return events


async def status_once_left(edge: Any, job_id: str) -> JobStatus:
    """The status after the server has noticed that its watcher is gone."""
    await edge.left_by_all("JobService", "WatchJob")
    return (await edge.domain.jobs.get(job_id)).status


@pytest.mark.parametrize("how", ["cancel", "deadline", "connection"])
@pytest.mark.parametrize("asked", [True, False])
def test_leaving_cancels_the_job_if_asked(run: Any, how: str, asked: bool) -> None:
    async def scenario(edge: Any) -> None:
        job_id = await submit(edge)
        request = pb.WatchJobRequest(job_id=job_id, cancel_on_disconnect=asked)
        call = edge.jobs.WatchJob(request, timeout=2 if how == "deadline" else None)
        await call.read()
        if how == "cancel":
            call.cancel()
        elif how == "connection":
            await edge.channel.close()
        else:
            assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await status_once_left(edge, job_id) is (JobStatus.CANCELED if asked else JobStatus.PENDING)

    run(scenario)


def test_a_watcher_that_saw_the_end_cancels_nothing(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        job_id = await submit(edge)
        await start(edge)
        call = edge.jobs.WatchJob(pb.WatchJobRequest(job_id=job_id, cancel_on_disconnect=True))
        await call.read()
        await finish(edge, job_id)
        assert (await rest_of(call))[-1].state.status == pb.JOB_STATUS_COMPLETED
        assert await status_once_left(edge, job_id) is JobStatus.COMPLETED

    run(scenario)


def test_cancel_and_delete(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        job_id = await submit(edge)
        too_long = await refusal(edge.jobs.CancelJob(pb.CancelJobRequest(job_id=job_id, message="m" * 501)))
        assert too_long.fields == ["message"]
        canceled = (await edge.jobs.CancelJob(pb.CancelJobRequest(job_id=job_id, message="enough"))).job
        assert canceled.status == pb.JOB_STATUS_CANCELED
        events = [answer.event async for answer in edge.jobs.WatchJob(pb.WatchJobRequest(job_id=job_id))]
        assert (events[-1].state.message, events[-1].state.reason) == ("enough", error_pb2.ERROR_REASON_CANCELED)
        again = (await edge.jobs.CancelJob(pb.CancelJobRequest(job_id=job_id))).job
        assert again.status == pb.JOB_STATUS_CANCELED
        await edge.jobs.DeleteJob(pb.DeleteJobRequest(job_id=job_id))
        assert (await refusal(edge.jobs.DeleteJob(pb.DeleteJobRequest(job_id=job_id)))).reason == "JOB_NOT_FOUND"

    run(scenario)
