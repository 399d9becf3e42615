"""RunnerService over the wire."""

from typing import Any

import pyarrow as pa
import pytest
from google.protobuf.struct_pb2 import Struct

from modelwire.v1 import frame_pb2, run_info_pb2
from modelwire.v1 import runner_service_pb2 as pb
from modelwire_server.clock import new_id
from modelwire_server.frames import FrameLimits, read_frame, write_frame


def arrow(**columns: Any) -> frame_pb2.Frame:
    return frame_pb2.Frame(arrow=write_frame(pa.table(columns)))


def table(frame: frame_pb2.Frame) -> pa.Table:
    return read_frame(frame.arrow, FrameLimits(), "frame")


def test_runners_are_described(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        listed = (await edge.runners.ListRunners(pb.ListRunnersRequest())).runners
        assert [runner.id for runner in listed] == ["times", "other"]
        default = await edge.runners.GetRunner(pb.GetRunnerRequest())
        assert default.info == listed[0]
        assert (default.info.display_name, default.info.version) == ("Times", "1.0.0")
        assert list(default.info.required_covariates) == ["x"]
        assert default.info.period_type == pb.PERIOD_TYPE_ANY
        assert default.config_schema["properties"]["factor"]["default"] == 2
        assert dict(default.hierarchy.level_labels) == {0: "ml_training", 1: "ml_prediction"}
        assert default.capabilities == pb.RunnerCapabilities(frame_library="pandas", reports_progress=True)
        other = await edge.runners.GetRunner(pb.GetRunnerRequest(runner_id="other"))
        assert other.info.requires_geo
        assert (await refusal(edge.runners.GetRunner(pb.GetRunnerRequest(runner_id="no")))).reason == "RUNNER_NOT_FOUND"

    run(scenario)


def test_training_input_is_checked(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        async def found(**fields: Any) -> list[tuple[int, str, str]]:
            request = pb.ValidateInputRequest(type=pb.VALIDATION_TYPE_TRAIN, **fields)
            answer = await edge.runners.ValidateInput(request)
            assert answer.valid == all(one.severity != pb.VALIDATION_SEVERITY_ERROR for one in answer.diagnostics)
            return [(one.severity, one.code, one.field) for one in answer.diagnostics]

        config = await edge.config()
        error = pb.VALIDATION_SEVERITY_ERROR
        assert await found(config_id=config.lower(), data=arrow(x=[1])) == []
        assert await found(config_id=config, data=arrow(y=[1])) == [(error, "missing_columns", "data")]
        assert await found(config_id=new_id(), data=arrow(x=[1])) == [(error, "config_not_found", "config_id")]

    run(scenario)


def test_prediction_input_is_checked(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        request = pb.ValidateInputRequest(
            type=pb.VALIDATION_TYPE_PREDICT,
            artifact_id=await edge.model(),
            historic=arrow(x=[1]),
            future=arrow(x=[1], time_period=["2020-01"]),
            run_info=run_info_pb2.RunInfo(prediction_periods=2),
        )
        answer = await edge.runners.ValidateInput(request)
        assert answer.valid
        (warning,) = answer.diagnostics
        assert (warning.severity, warning.code) == (pb.VALIDATION_SEVERITY_WARNING, "prediction_periods_mismatch")

    run(scenario)


@pytest.mark.parametrize(
    ("fields", "reason", "wrong"),
    [
        ({}, "INVALID_FIELD", ["type"]),
        ({"type": pb.VALIDATION_TYPE_TRAIN, "config_id": "x"}, "INVALID_ID", ["config_id"]),
        ({"type": pb.VALIDATION_TYPE_PREDICT}, "INVALID_ID", ["artifact_id"]),
        ({"type": pb.VALIDATION_TYPE_TRAIN, "config_id": new_id()}, "INVALID_FRAME", ["data"]),
        (
            {"type": pb.VALIDATION_TYPE_TRAIN, "config_id": new_id(), "data": arrow(x=[1]), "geo": Struct()},
            "INVALID_GEO",
            ["geo.type"],
        ),
    ],
)
def test_what_cannot_be_checked(run: Any, refusal: Any, fields: dict[str, Any], reason: str, wrong: list[str]) -> None:
    async def scenario(edge: Any) -> None:
        found = await refusal(edge.runners.ValidateInput(pb.ValidateInputRequest(**fields)))
        assert (found.reason, found.fields) == (reason, wrong)

    run(scenario)


def test_sample_data_fit_the_runner(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        sample = edge.runners.GenerateSampleData
        request = pb.GenerateSampleDataRequest(num_locations=2, num_periods=3, num_features=1, seed=7)
        made = await sample(request)
        frame = table(made.data)
        assert (frame.num_rows, made.WhichOneof("_config_id"), made.HasField("geo")) == (6, None, False)
        assert {"x", "feature_0", "time_period"} <= set(frame.column_names)
        assert frame.column("time_period")[0].as_py() == "2020-01"
        assert await sample(request) == made
        config = await edge.config("other")
        request.config_id, request.kind, request.period_type = config, pb.SAMPLE_DATA_KIND_PREDICT, pb.PERIOD_TYPE_WEEKLY
        made = await sample(request)
        assert (table(made.historic).num_rows, table(made.future).num_rows) == (6, 6)
        assert table(made.historic).column("time_period")[0].as_py() == "2020-W01"
        assert made.geo["features"][0]["geometry"]["type"] == "Polygon"
        assert not made.HasField("config_id")
        request.kind, request.geo_type, request.include_geo = pb.SAMPLE_DATA_KIND_TRAIN, pb.GEO_TYPE_POINT, True
        made = await sample(request)
        assert (made.config_id, made.geo["features"][0]["geometry"]["type"]) == (config, "Point")
        request.num_locations = 0
        assert (await refusal(sample(request))).fields == ["num_locations"]
        unknown = pb.GenerateSampleDataRequest(config_id=new_id())
        assert (await refusal(sample(unknown))).reason == "CONFIG_NOT_FOUND"

    run(scenario)
