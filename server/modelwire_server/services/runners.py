"""RunnerService: what this server can train and predict with."""

import asyncio
import inspect
from typing import Any

from modelwire.v1 import runner_service_pb2 as pb
from modelwire.v1.runner_service_pb2_grpc import RunnerServiceServicer
from modelwire_runners import PeriodType, ValidationDiagnostic
from modelwire_runners.frames import library_wanted
from modelwire_runners.runner import optional_arguments

from ..configs.catalog import ConfigCatalog
from ..errors import FieldViolation, InvalidField
from ..interceptors.around import Context
from ..periods import count_periods
from ..runners import Runner, RunnerRegistry
from ..sample_data import SampleOrder, generate_sample
from ..validation import PredictInput, TrainInput, Validator
from .checks import Findings
from .configs import schema_of
from .frames import FrameReader, frame_of
from .messages import diagnostic_message, run_info_of, runner_message
from .values import struct_of

_PERIOD_TYPES = {pb.PeriodType.Value(f"PERIOD_TYPE_{kind.upper()}"): kind for kind in PeriodType}


class RunnerServicer(RunnerServiceServicer):
    def __init__(self, *, runners: RunnerRegistry, configs: ConfigCatalog, validator: Validator, reader: FrameReader) -> None:
        self._runners = runners
        self._configs = configs
        self._validator = validator
        self._reader = reader

    async def ListRunners(self, request: pb.ListRunnersRequest, context: Context) -> pb.ListRunnersResponse:
        return pb.ListRunnersResponse(runners=[runner_message(runner.info) for runner in self._runners.all()])

    async def GetRunner(self, request: pb.GetRunnerRequest, context: Context) -> pb.GetRunnerResponse:
        runner = self._runners.get(request.runner_id)
        return pb.GetRunnerResponse(
            info=runner_message(runner.info),
            config_schema=schema_of(self._runners, request.runner_id),
            hierarchy=pb.ArtifactHierarchy(name=runner.hierarchy.name, level_labels=runner.hierarchy.level_labels),
            capabilities=capabilities_of(runner),
        )

    async def ValidateInput(self, request: pb.ValidateInputRequest, context: Context) -> pb.ValidateInputResponse:
        if request.type == pb.VALIDATION_TYPE_TRAIN:
            found = await self._validate_train(request)
        elif request.type == pb.VALIDATION_TYPE_PREDICT:
            found = await self._validate_predict(request)
        else:
            raise InvalidField.of(FieldViolation("type", "must be VALIDATION_TYPE_TRAIN or VALIDATION_TYPE_PREDICT"))
        valid = all(one.severity != "error" for one in found)
        return pb.ValidateInputResponse(valid=valid, diagnostics=[diagnostic_message(one) for one in found])

    async def GenerateSampleData(self, request: pb.GenerateSampleDataRequest, context: Context) -> pb.GenerateSampleDataResponse:
        findings = Findings()
        config_id = findings.optional_id("config_id", request.config_id)
        findings.settle()
        config = await self._configs.get(config_id) if config_id else None
        runner = self._runners.get(request.runner_id or (config.runner_id if config else ""))
        order = sample_order(request, runner, config.data if config else {})
        made = await asyncio.to_thread(generate_sample, order, runner.info)
        answer = pb.GenerateSampleDataResponse(
            config_id=config_id if config_id and not order.predict else None,
            geo=struct_of(made.geo) if made.geo is not None else None,
        )
        for role, table in made.frames.items():
            getattr(answer, role).CopyFrom(frame_of(table))
        return answer

    async def _validate_train(self, request: pb.ValidateInputRequest) -> list[ValidationDiagnostic]:
        findings = Findings()
        config_id = findings.id("config_id", request.config_id)
        findings.settle()
        data, geo = await self._reader.table(request, "data"), self._reader.geo(request)
        given = TrainInput(config_id=config_id, data=data, geo=geo, run_info=run_info_of(request.run_info))
        return await self._validator.validate_train(given)

    async def _validate_predict(self, request: pb.ValidateInputRequest) -> list[ValidationDiagnostic]:
        findings = Findings()
        artifact_id = findings.id("artifact_id", request.artifact_id)
        findings.settle()
        future = await self._reader.table(request, "future")
        given = PredictInput(
            artifact_id=artifact_id,
            historic=await self._reader.table(request, "historic"),
            future=future,
            periods=count_periods(future),
            geo=self._reader.geo(request),
            run_info=run_info_of(request.run_info),
        )
        return await self._validator.validate_predict(given)


def sample_order(request: pb.GenerateSampleDataRequest, runner: Runner, config: dict[str, object]) -> SampleOrder:
    """Raises InvalidField for numbers out of bounds."""
    own = runner.info.period_type
    numbers = {"locations": "num_locations", "periods": "num_periods", "features": "num_features"}
    fields: Any = request
    given = {name: getattr(request, field) for name, field in numbers.items() if fields.HasField(field)}
    horizon, covariates = config.get("prediction_periods"), config.get("additional_continuous_covariates")
    return SampleOrder(
        **given,
        predict=request.kind == pb.SAMPLE_DATA_KIND_PREDICT,
        period_type=_PERIOD_TYPES.get(request.period_type, PeriodType.MONTHLY if own is PeriodType.ANY else own),
        points=request.geo_type == pb.GEO_TYPE_POINT,
        with_geo=request.include_geo if request.HasField("include_geo") else runner.info.requires_geo,
        seed=request.seed if request.HasField("seed") else -1,
        horizon=horizon if isinstance(horizon, int) else 3,
        covariates=tuple(str(name) for name in covariates) if isinstance(covariates, list) else (),
    )


def capabilities_of(runner: Runner) -> pb.RunnerCapabilities:
    train = runner.function("on_train")
    parameters = list(inspect.signature(train).parameters)
    frame = "data" if "data" in parameters else parameters[1]
    return pb.RunnerCapabilities(
        frame_library=library_wanted(train, frame),
        validates_training=runner.overrides("on_validate_train"),
        validates_prediction=runner.overrides("on_validate_predict"),
        reports_progress=bool(optional_arguments(train, context=None)),
        independent_rows=runner.independent_rows,
    )
