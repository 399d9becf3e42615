"""The parameters of requests and tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import FieldViolation, InvalidField
from ...signature import SchemaPolicy
from .v2 import open_inference_pb2 as pb

Parameters = Mapping[str, pb.InferParameter]

SHARED_MEMORY = "this server shares no memory with its callers: send tensors with the request"
MICROSECONDS = 1e-6
# What the protocol knows and this server does not do; to leave it out silently would change what the answer means.
_REFUSED = {"sequence_id": "models here keep nothing between requests"}


@dataclass(frozen=True, slots=True)
class Options:
    """What a request asks for beside predictions. `timeout` is in seconds; `raw` is None where the request does not say."""

    run_info: dict[str, Any] = field(default_factory=dict)
    schema_policy: str = ""
    engine: str = ""
    timeout: float | None = None
    raw: bool | None = None
    final_mark: bool = False


_NONE = Options()


def parameters_of(parameters: Parameters) -> dict[str, Any]:
    """The values of parameters; those without a value are left out."""
    chosen = {name: (value, value.WhichOneof("parameter_choice")) for name, value in parameters.items()}
    return {name: getattr(value, kind) for name, (value, kind) in chosen.items() if kind}


def options_of(parameters: Parameters) -> Options:
    """Parameters that mean nothing here are allowed, as the protocol says. Raises InvalidField."""
    if not parameters:
        return _NONE
    given = parameters_of(parameters)
    for name, why in _REFUSED.items():
        if name in given:
            raise _wrong(name, f"cannot be given: {why}")
    periods = _of_type(given, "prediction_periods", int)
    timeout = _of_type(given, "timeout", int)
    return Options(
        run_info={} if periods is None else {"prediction_periods": periods},
        schema_policy=_policy(_of_type(given, "schema_policy", str) or ""),
        engine=_of_type(given, "engine", str) or "",
        timeout=timeout * MICROSECONDS if timeout and timeout > 0 else None,
        raw=_of_type(given, "binary_data_output", bool),
        final_mark=given.get("triton_enable_empty_final_response") is True,
    )


def refuse_shared_memory(tensor: pb.ModelInferRequest.InferInputTensor | pb.ModelInferRequest.InferRequestedOutputTensor) -> None:
    """Raises InvalidField for a tensor that is, or shall be put, in memory that this server does not share, or as classes."""
    if any(name.startswith("shared_memory_") for name in tensor.parameters):
        raise InvalidField.of(FieldViolation("parameters", f"tensor {tensor.name[:100]!r}: {SHARED_MEMORY}"))
    if "classification" in tensor.parameters:
        text = f"tensor {tensor.name[:100]!r}: classification is not supported: ask for the values"
        raise InvalidField.of(FieldViolation("parameters", text))


def _policy(name: str) -> str:
    if name and name not in tuple(SchemaPolicy):
        raise _wrong("schema_policy", f"is {name[:50]!r}, none of {', '.join(SchemaPolicy)}")
    return name


def _of_type(given: dict[str, Any], name: str, kind: type) -> Any:
    value = given.get(name)
    if value is not None and type(value) is not kind:
        raise _wrong(name, f"must be of type {kind.__name__}, not {type(value).__name__}")
    return value


def _wrong(name: str, text: str) -> InvalidField:
    return InvalidField.of(FieldViolation(f"parameters.{name}", text))
