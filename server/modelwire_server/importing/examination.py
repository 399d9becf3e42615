"""What a model that was read says of itself, and what was said of it."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from modelwire_runners import BaseModelRunner, RunContext
from modelwire_runners.invoke import run_predict

from ..columns import Column
from ..errors import FieldViolation, InvalidField
from ..inference.warming import example_of
from ..signature import Signature
from .model import ImportedFile


@dataclass(frozen=True, slots=True)
class Examined:
    """What is known of a model. `signature` is the document of a Signature, or empty."""

    algorithm: str
    framework: str
    features: tuple[str, ...]
    signature: Mapping[str, Any] = field(default_factory=dict)


def examine(model: Any, runner: BaseModelRunner[Any], config: dict[str, Any], wanted: ImportedFile) -> Examined:
    """What the file tells, where nothing was said. Raises InvalidField for a signature that is none, and for features that are not as many
    as the model takes."""
    signature = _signature(model, wanted)
    if signature is not None:
        signature = replace(signature, is_complete=True)
        if not signature.outputs:
            signature = replace(signature, outputs=_outputs(model, runner, config, signature))
    return Examined(
        algorithm=wanted.algorithm or str(getattr(model, "algorithm", "") or type(model).__name__),
        framework=wanted.framework or str(getattr(model, "framework", "") or ""),
        features=wanted.features or (() if signature is None else tuple(column.name for column in signature.inputs)),
        signature={} if signature is None else signature.to_json(),
    )


def _signature(model: Any, wanted: ImportedFile) -> Signature | None:
    """What was said of the columns; else what is known of them."""
    targets = (wanted.target,) if wanted.target else ()
    if wanted.signature:
        try:
            return replace(Signature.from_json(wanted.signature), targets=targets)
        except (KeyError, TypeError, ValueError, AttributeError):
            text = "must have `inputs`, and may have `outputs`: each a list of objects with `name` and `type`"
            raise InvalidField.of(FieldViolation("signature", text)) from None
    inputs = _inputs(model, wanted.features)
    return Signature([Column(name, kind) for name, kind in inputs], (), targets) if inputs else None


def _inputs(model: Any, said: Sequence[str]) -> Sequence[tuple[str, str]]:
    """The columns with the names of their types. Models of other runners tell nothing of themselves."""
    if not hasattr(model, "inputs_named"):
        return [(name, "null") for name in said]
    found: Sequence[tuple[str, str]] = model.inputs_named(said) if said else model.inputs
    return found


def _outputs(model: Any, runner: BaseModelRunner[Any], config: dict[str, Any], signature: Signature) -> Sequence[Column]:
    """The columns of its predictions, from a row that is made up; none if that cannot be predicted."""
    with contextlib.suppress(Exception):
        row = example_of(signature)
        if row is not None:
            found = run_predict(runner, config, model, row.slice(0, 0), row, None, RunContext())
            return tuple(Column(one.name, str(one.type)) for one in found.schema)
    return ()
