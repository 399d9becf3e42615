"""Examples for the OpenAPI document that work on the server that is asked: of what is stored there, and of what its runner takes."""

from typing import Any

import orjson
from google.protobuf.message import Message

from modelwire.v1 import (
    artifact_service_pb2,
    config_service_pb2,
    job_service_pb2,
    model_service_pb2,
    predictor_service_pb2,
    runner_service_pb2,
)

from ..calls import CallFailed, Calls, Sending
from ..methods import contract_services
from ..rendering import Renderer, to_json
from .constraints import EXAMPLE_ID

pb = runner_service_pb2
_RPCS = {rpc.input_type.full_name: rpc for service in contract_services() for rpc in service.methods}
_MODEL = "ml_training"
_EXAMPLES_BY_TYPE: dict[str, Any] = {"string": "text", "integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}}


async def ask(calls: Calls, request: Message) -> Any:
    """The answer to a request. Raises CallFailed."""
    return await calls.unary(_RPCS[request.DESCRIPTOR.full_name], request, Sending())


async def runners_of(calls: Calls) -> list[pb.GetRunnerResponse]:
    """The runners of the server, the default one first. Raises CallFailed."""
    listed = await ask(calls, pb.ListRunnersRequest())
    return [await ask(calls, pb.GetRunnerRequest(runner_id=runner.id)) for runner in listed.runners]


async def predictors_of(calls: Calls) -> list[predictor_service_pb2.Predictor]:
    """The predictors of the server. Raises CallFailed."""
    return list((await ask(calls, predictor_service_pb2.ListPredictorsRequest())).predictors)


async def examples_of(calls: Calls, runner: pb.GetRunnerResponse) -> dict[str, Any]:
    """Values of parameters by their names, and bodies by the names of methods. Raises CallFailed."""
    configs = (await ask(calls, config_service_pb2.ListConfigsRequest(page_size=1, runner_id=runner.info.id))).configs
    models = (await ask(calls, artifact_service_pb2.ListArtifactsRequest(page_size=1, type=_MODEL))).artifacts
    jobs = (await ask(calls, job_service_pb2.ListJobsRequest(page_size=1))).jobs
    named = (await ask(calls, model_service_pb2.ListModelsRequest(page_size=1))).models
    config_id, model_id, job_id = (things[0].id if things else EXAMPLE_ID for things in (configs, models, jobs))
    train = await _sample(calls, kind=pb.SAMPLE_DATA_KIND_TRAIN)
    predict = await _sample(calls, kind=pb.SAMPLE_DATA_KIND_PREDICT)
    single = {"model_id": model_id, "features": _first_row(predict.get("future", {}))}
    artifact = {"type": "generic", "metadata": {"source": "an example"}, "content": {"answer": 42}}
    config = {"name": "example", "data": example_of(Renderer().message(runner.config_schema))}
    return {
        "config_id": config_id,
        "artifact_id": model_id,
        "job_id": job_id,
        "runner_id": runner.info.id,
        "name": named[0].name if named else "weather",
        "version": str(named[0].latest_version) if named else "1",
        "alias": next(iter(named[0].aliases), "production") if named else "production",
        "CreateConfig": config,
        "UpdateConfig": config,
        "LinkArtifact": {"artifact_id": model_id},
        "UnlinkArtifact": {"artifact_id": model_id},
        "Train": {"config_id": config_id, **train},
        "ValidateInput": {"type": "train", "config_id": config_id, **train},
        "SubmitPrediction": {"artifact_id": model_id, **predict},
        "Predict": {"model": model_id, **predict},
        "RegisterModelVersion": {"artifact_id": model_id, "metrics": {"accuracy": 0.93}, "description": "an example"},
        "UpdateModel": {"description": "an example", "tags": ["example"]},
        "UpdateModelVersion": {"description": "an example", "stage": "staging"},
        "PromoteModel": {"version": str(named[0].latest_version) if named else "1", "alias": "production", "dry_run": True},
        "RollbackModel": {"alias": "production"},
        "ScoreModel": {"model": model_id, "data": _with_truth(predict.get("future", {})), "target": _TRUTH},
        "PredictSingle": single,
        "PredictSingles": [single],
        "CancelJob": {"message": "not needed any more"},
        "CreateArtifact": {"data": artifact},
        "UpdateArtifact": {"data": artifact, "tags": ["example"]},
    }


async def _sample(calls: Calls, **order: Any) -> dict[str, Any]:
    """A few rows of what the runner takes; nothing if it has no idea."""
    request = pb.GenerateSampleDataRequest(num_locations=1, num_periods=4, num_features=0, seed=42, **order)
    try:
        answer = await ask(calls, request)
    except CallFailed:
        return {}
    sample: dict[str, Any] = orjson.loads(to_json(Renderer().message(answer)))
    for frame in ("data", "historic", "future"):
        sample.get(frame, {}).pop("schema", None)
    return sample


def _first_row(frame: dict[str, Any]) -> dict[str, Any]:
    columns, rows = frame.get("columns", ()), frame.get("data", ())
    return dict(zip(columns, rows[0], strict=True)) if rows else {}


_TRUTH = "observed"


def _with_truth(frame: dict[str, Any]) -> dict[str, Any]:
    """The frame with a further column: what came true."""
    rows = [[*row, place] for place, row in enumerate(frame.get("data", ()), 1)]
    return {"columns": [*frame.get("columns", ()), _TRUTH], "data": rows}


def example_of(schema: dict[str, Any]) -> dict[str, Any]:
    """An object that fits the JSON schema of a runner's configs: defaults, and something for what has none."""
    required = schema.get("required", ())
    members = schema.get("properties", {}).items()
    return {name: _value_of(member) for name, member in members if "default" in member or name in required}


def _value_of(schema: dict[str, Any]) -> Any:
    for candidates in ([schema["default"]] if "default" in schema else [], schema.get("examples", []), schema.get("enum", [])):
        if candidates:
            return candidates[0]
    least = schema.get("minimum")
    return least if least is not None else _EXAMPLES_BY_TYPE.get(schema.get("type", ""))
