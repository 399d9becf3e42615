"""TrainService over the wire."""

import json
from collections.abc import Iterator
from typing import Any

import psutil
import pyarrow as pa
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import ListValue, Struct

from modelwire.v1 import frame_pb2, run_info_pb2
from modelwire.v1 import train_service_pb2 as pb
from modelwire_server.clock import new_id
from modelwire_server.frames import FrameLimits, read_frame, write_frame, write_frame_parts

MIB = 1 << 20
TABLE = pa.table({"x": [1, 2, 3], "time_period": ["2020-01", "2020-02", "2020-03"]})
ARROW = frame_pb2.Frame(arrow=write_frame(TABLE))
GEO = {
    "type": "FeatureCollection",
    "features": [{"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [1.5, 2]}}],
}


def struct(values: Any) -> Struct:
    made = Struct()
    made.update(values)
    return made


def rows(*values: list[Any], **table: Any) -> frame_pb2.Frame:
    data = []
    for row in values:
        data.append(ListValue())
        data[-1].extend(row)
    return frame_pb2.Frame(table=frame_pb2.Table(data=data, **table))


def stream(header: pb.TrainRequest, *frames: bytes, geo: bytes = b"") -> Iterator[pb.TrainStreamRequest]:
    yield pb.TrainStreamRequest(header=header)
    for part in frames:
        yield pb.TrainStreamRequest(data=part)
    if geo:
        yield pb.TrainStreamRequest(geo=geo)


async def stored_frame(edge: Any, job_id: str) -> pa.Table:
    job = await edge.domain.jobs.get(job_id)
    path = await edge.domain.blobs.local_path(job.input["frames"]["data"])
    return read_frame(path.read_bytes(), FrameLimits(), "data")


def test_a_training_becomes_a_job(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        config, model = await edge.config(), new_id()
        request = pb.TrainRequest(
            config_id=config.lower(),
            data=ARROW,
            geo=struct(GEO),
            run_info=run_info_pb2.RunInfo(prediction_periods=5, future_covariate_origin="forecast"),
            timeout=Duration(seconds=1, nanos=500_000_000),
            tags=["a"],
            model_id=model.lower(),
        )
        answer = await edge.trainings.Train(request)
        job = await edge.domain.jobs.get(answer.job_id)
        assert (answer.artifact_id, job.artifact_id, job.config_id) == (model, model, config)
        assert job.timeout == 1.5
        assert job.input["run_info"] == {"prediction_periods": 5, "future_covariate_origin": "forecast"}
        assert job.input["config"]["prediction_periods"] == 5
        assert job.input["tags"] == ["a"]
        geo = await edge.domain.blobs.local_path(job.input["geo"])
        assert json.loads(geo.read_text()) == GEO
        assert (await stored_frame(edge, job.id)).equals(TABLE)
        assert edge.metrics.registry.get_sample_value("ml_train_jobs_total") == 1

    run(scenario)


def test_columns_and_rows_do_as_well(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        frame = rows([1, "2020-01"], [2, None], columns=["x", "time_period"])
        answer = await edge.trainings.Train(pb.TrainRequest(config_id=await edge.config(), data=frame))
        expected = pa.table({"x": pa.array([1, 2], pa.int64()), "time_period": ["2020-01", None]})
        assert (await stored_frame(edge, answer.job_id)).equals(expected)

    run(scenario)


def test_the_same_request_id_gives_the_same_job(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        config = await edge.config()
        request = pb.TrainRequest(config_id=config, data=ARROW, request_id="once")
        first = await edge.trainings.Train(request)
        assert await edge.trainings.Train(request) == first
        streamed = pb.TrainRequest(config_id=config, request_id="once")
        assert (await edge.trainings.TrainStream(stream(streamed, ARROW.arrow))).job_id == first.job_id
        request.tags.append("other")
        assert (await refusal(edge.trainings.Train(request))).reason == "REQUEST_ID_REUSED"

    run(scenario)


@pytest.mark.parametrize(
    ("fields", "reason", "wrong"),
    [
        ({"config_id": "x", "model_id": "y"}, "INVALID_ID", ["config_id", "model_id"]),
        ({"config_id": ""}, "INVALID_ID", ["config_id"]),
        ({"config_id": new_id()}, "CONFIG_NOT_FOUND", []),
        ({"timeout": Duration(seconds=-1)}, "INVALID_FIELD", ["timeout"]),
        ({"timeout": Duration()}, "INVALID_FIELD", ["timeout"]),
        ({"tags": ["a", "a"], "request_id": "r" * 101}, "INVALID_FIELD", ["request_id", "tags[1]"]),
        ({"data": None}, "INVALID_FRAME", ["data"]),
        ({"data": frame_pb2.Frame(arrow=b"nonsense")}, "INVALID_FRAME", ["data"]),
        ({"data": rows([1, 2], columns=["x"])}, "INVALID_FRAME", ["data.table.data[0]"]),
        ({"data": rows([1], ["a"], columns=["x"])}, "INVALID_FRAME", ["data.table.data[1]"]),
        ({"data": rows([1], columns=["y"])}, "MISSING_COLUMNS", ["data"]),
        ({"geo": struct({"type": "Point"})}, "INVALID_GEO", ["geo.type"]),
        ({"run_info": run_info_pb2.RunInfo(prediction_periods=2000)}, "HORIZON_OUT_OF_BOUNDS", ["run_info.prediction_periods"]),
    ],
)
def test_what_cannot_be_trained(run: Any, refusal: Any, fields: dict[str, Any], reason: str, wrong: list[str]) -> None:
    async def scenario(edge: Any) -> None:
        request = pb.TrainRequest(**{"config_id": await edge.config(), "data": ARROW, **fields})
        found = await refusal(edge.trainings.Train(request))
        assert (found.reason, found.fields) == (reason, wrong)
        assert (await edge.domain.jobs.list()).total_size == 0

    run(scenario)


def test_a_full_queue_says_when_to_come_again(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        request = pb.TrainRequest(config_id=await edge.config(), data=ARROW)
        await edge.trainings.Train(request)
        found = await refusal(edge.trainings.Train(request))
        assert (found.code, found.reason, found.metadata) == ("RESOURCE_EXHAUSTED", "OVERLOADED", {"limit": "1"})

    run(scenario, max_pending_jobs=1)


def test_a_server_that_shuts_down_takes_no_more(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        edge.queue.open = False
        found = await refusal(edge.trainings.Train(pb.TrainRequest(config_id=await edge.config(), data=ARROW)))
        assert (found.code, found.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")

    run(scenario)


@pytest.mark.parametrize("size", [1, 7, MIB])
def test_a_stream_may_be_cut_anywhere(run: Any, size: int) -> None:
    async def scenario(edge: Any) -> None:
        header = pb.TrainRequest(config_id=await edge.config(), tags=["streamed"])
        chunks = [ARROW.arrow[at : at + size] for at in range(0, len(ARROW.arrow), size)]
        answer = await edge.trainings.TrainStream(stream(header, *chunks, geo=json.dumps(GEO).encode()))
        job = await edge.domain.jobs.get(answer.job_id)
        assert (await stored_frame(edge, job.id)).equals(TABLE)
        assert json.loads((await edge.domain.blobs.local_path(job.input["geo"])).read_text()) == GEO
        assert edge.unfinished() == []

    run(scenario)


HEADER = pb.TrainStreamRequest(header=pb.TrainRequest(config_id=new_id()))


@pytest.mark.parametrize(
    ("parts", "reason", "wrong"),
    [
        ([], "INVALID_FIELD", ["header"]),
        ([pb.TrainStreamRequest(data=b"x")], "INVALID_FIELD", ["data"]),
        ([pb.TrainStreamRequest()], "INVALID_FIELD", ["part"]),
        ([HEADER], "CONFIG_NOT_FOUND", []),
        (["header", "header"], "INVALID_FIELD", ["header"]),
        (["header"], "INVALID_FRAME", ["data"]),
        (["header", pb.TrainStreamRequest()], "INVALID_FIELD", ["part"]),
        (["header", pb.TrainStreamRequest(data=bytes(5 * MIB))], "INVALID_FIELD", ["data"]),
        (["header", *[pb.TrainStreamRequest(data=bytes(MIB))] * 4], "FRAME_TOO_LARGE", ["data"]),
        (["header", pb.TrainStreamRequest(data=b"nonsense")], "INVALID_FRAME", ["data"]),
        (["header", pb.TrainStreamRequest(data=ARROW.arrow[:-20])], "INVALID_FRAME", ["data"]),
        (["header", pb.TrainStreamRequest(data=ARROW.arrow), pb.TrainStreamRequest(geo=b"{")], "INVALID_GEO", ["geo"]),
        (["header", pb.TrainStreamRequest(data=ARROW.arrow), pb.TrainStreamRequest(geo=b"[" * 100_000)], "INVALID_GEO", ["geo"]),
        (["header", pb.TrainStreamRequest(data=ARROW.arrow), pb.TrainStreamRequest(geo=b"NaN")], "INVALID_GEO", ["geo"]),
        (["header", pb.TrainStreamRequest(geo=bytes(MIB + 1))], "FRAME_TOO_LARGE", ["geo"]),
    ],
)
def test_streams_that_are_refused(run: Any, refusal: Any, parts: list[Any], reason: str, wrong: list[str]) -> None:
    async def scenario(edge: Any) -> None:
        header = pb.TrainStreamRequest(header=pb.TrainRequest(config_id=await edge.config()))
        sent = [header if part == "header" else part for part in parts]
        found = await refusal(edge.trainings.TrainStream(iter(sent)))
        assert (found.reason, found.fields) == (reason, wrong)
        assert (await edge.domain.jobs.list()).total_size == 0
        assert edge.unfinished() == []

    run(scenario, max_frame_bytes="3MiB", max_geo_bytes="1MiB")


def test_a_header_with_a_frame_in_it_is_refused(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        header = pb.TrainRequest(config_id=await edge.config(), data=ARROW, geo=struct(GEO))
        found = await refusal(edge.trainings.TrainStream(stream(header, ARROW.arrow)))
        assert found.fields == ["data", "geo"]

    run(scenario)


def test_a_large_frame_takes_little_memory(run: Any) -> None:
    """The client sends what it makes at once, so that all memory beyond a few chunks would be the server's. What goes to a bucket does so
    in parts of several MB, as many at a time as the library likes."""
    batch = pa.table({"x": pa.array(range(60_000)), "y": pa.array([1.5] * 60_000)})
    peak = 0

    async def scenario(edge: Any) -> None:
        nonlocal peak
        config, process = await edge.config(), psutil.Process()
        head, *_ = parts = list(write_frame_parts(batch, 1 << 24))
        schema_size = len(b"".join(write_frame_parts(batch.slice(0, 0)))) - 8
        body = head[schema_size:-8]
        assert len(parts) == 1
        before = process.memory_info().rss

        def sent() -> Iterator[pb.TrainStreamRequest]:
            nonlocal peak
            yield from stream(pb.TrainRequest(config_id=config), head[:schema_size])
            for _ in range(400):
                yield pb.TrainStreamRequest(data=body)
                peak = max(peak, process.memory_info().rss - before)

        answer = await edge.trainings.TrainStream(sent())
        peak = max(peak, process.memory_info().rss - before)
        job = await edge.domain.jobs.get(answer.job_id)
        path = await edge.domain.blobs.local_path(job.input["frames"]["data"])
        assert path.stat().st_size > 360 * MIB

    run(scenario)
    assert peak < 150 * MIB
