"""Runners: what the server can train and predict with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from modelwire._async.work import id_of
from modelwire._seams import asynchronous as seam
from modelwire.chunks import decode
from modelwire.frames import FrameLike, Kind, KindName, to_kind
from modelwire.payload import GeoLike, Payload, RunInfoLike, run_info_message
from modelwire.records import (
    Runner,
    RunnerInfo,
    SampleData,
    Validation,
    info_fields,
    runner_of,
    validation_of,
)
from modelwire.v1 import frame_pb2, runner_service_pb2
from modelwire.values import from_struct

if TYPE_CHECKING:
    from modelwire._async.artifacts import AsyncArtifact
    from modelwire._async.configs import AsyncConfig
    from modelwire._async.connection import AsyncConnection


class AsyncRunners:
    """`client.runners`: the runners of the server."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def list(self) -> tuple[RunnerInfo, ...]:
        """The info cards of all runners, the default runner first."""
        stub = self._connection.stubs.runners
        answer = await self._connection.call(stub.ListRunners, runner_service_pb2.ListRunnersRequest())
        return tuple(RunnerInfo(**info_fields(info)) for info in answer.runners)

    async def get(self, runner_id: str = "") -> Runner:
        """One runner, described; the default runner without id. Raises NotFound."""
        stub = self._connection.stubs.runners
        return runner_of(await self._connection.call(stub.GetRunner, runner_service_pb2.GetRunnerRequest(runner_id=runner_id)))

    async def validate_training(
        self,
        config: AsyncConfig | str,
        data: FrameLike,
        *,
        geo: GeoLike | None = None,
        run_info: RunInfoLike | None = None,
    ) -> Validation:
        """Checks the input of a training without running it. The frame must be below the server's message limit (16 MiB)."""
        request = runner_service_pb2.ValidateInputRequest(
            type=runner_service_pb2.VALIDATION_TYPE_TRAIN, config_id=id_of(config), run_info=run_info_message(run_info)
        )
        return await self._validate(request, await seam.in_thread(Payload, {"data": data}, geo))

    async def validate_prediction(
        self,
        model: AsyncArtifact | str,
        future: FrameLike,
        historic: FrameLike | None = None,
        *,
        geo: GeoLike | None = None,
        run_info: RunInfoLike | None = None,
    ) -> Validation:
        """Checks the input of a prediction without running it. Frames must be below the server's message limit (16 MiB)."""
        request = runner_service_pb2.ValidateInputRequest(
            type=runner_service_pb2.VALIDATION_TYPE_PREDICT, artifact_id=id_of(model), run_info=run_info_message(run_info)
        )
        return await self._validate(request, await seam.in_thread(Payload, {"historic": historic, "future": future}, geo))

    async def _validate(self, request: runner_service_pb2.ValidateInputRequest, payload: Payload) -> Validation:
        stub = self._connection.stubs.runners
        return validation_of(await self._connection.call(stub.ValidateInput, payload.fill(request)))

    async def sample_data(
        self,
        kind: Literal["train", "predict"] = "train",
        *,
        config: AsyncConfig | str = "",
        runner: str = "",
        num_locations: int | None = None,
        num_periods: int | None = None,
        num_features: int | None = None,
        period_type: Literal["", "weekly", "monthly", "any"] = "",
        geo_type: Literal["", "polygon", "point"] = "",
        include_geo: bool | None = None,
        seed: int | None = None,
        frames: KindName = "pyarrow",
    ) -> SampleData:
        """Input that the runner accepts, as frames of the named library. The same seed gives the same data."""
        pb = runner_service_pb2
        request = pb.GenerateSampleDataRequest(
            kind=pb.SampleDataKind.Value(f"SAMPLE_DATA_KIND_{kind.upper()}"),
            config_id=id_of(config),
            runner_id=runner,
            num_locations=num_locations,
            num_periods=num_periods,
            num_features=num_features,
            period_type=pb.PeriodType.Value(f"PERIOD_TYPE_{(period_type or 'unspecified').upper()}"),
            geo_type=pb.GeoType.Value(f"GEO_TYPE_{(geo_type or 'unspecified').upper()}"),
            include_geo=include_geo,
            seed=seed,
        )
        answer = await self._connection.call(self._connection.stubs.runners.GenerateSampleData, request)
        return SampleData(
            data=_frame(answer, "data", frames),
            historic=_frame(answer, "historic", frames),
            future=_frame(answer, "future", frames),
            geo=from_struct(answer.geo) if answer.HasField("geo") else None,
            config_id=answer.config_id if answer.HasField("config_id") else None,
        )


def _frame(
    answer: runner_service_pb2.GenerateSampleDataResponse, role: Literal["data", "historic", "future"], kind: KindName
) -> Any:
    if not answer.HasField(role):
        return None
    frame: frame_pb2.Frame = getattr(answer, role)
    return to_kind(decode(frame.arrow), Kind(kind))
