"""Models in Python as MLflow keeps them: an object of a class of theirs with a `predict`."""

import inspect
from collections.abc import Sequence
from typing import Any

from modelwire_runners.frames import Frame

from ..errors import ModelNotLoadable
from .outputs import PREDICTION, Columns, columns_of


def is_python_function(content: Any) -> bool:
    """Whether this is an MLflow PythonModel; told without importing MLflow."""
    return _own_class(content) is not None


class PythonFunction:
    """Predicts with it. Raises ModelNotLoadable for one that wants files beside itself, which are not fetched."""

    framework = "mlflow"
    # It does not say what it wants.
    inputs: Sequence[tuple[str, str]] = ()

    def __init__(self, content: Any) -> None:
        if type(content).load_context is not getattr(_own_class(content), "load_context", None):
            raise ModelNotLoadable("the model loads files beside itself (`load_context`), which are not imported")
        self._predict = content.predict
        # MLflow allows both predict(context, model_input) and predict(model_input).
        self._before = (None,) if next(iter(inspect.signature(content.predict).parameters), "") == "context" else ()
        self.algorithm = type(content).__name__

    def inputs_named(self, names: Sequence[str]) -> Sequence[tuple[str, str]]:
        return [(name, "null") for name in names]

    def predict(self, frame: Frame) -> Columns:
        found = self._predict(*self._before, frame.table().to_pandas())
        if hasattr(found, "columns"):
            return {str(name): found[name].to_numpy() for name in found.columns}
        return columns_of(PREDICTION, found)


def _own_class(content: Any) -> Any:
    return next(
        (one for one in type(content).__mro__ if (one.__module__, one.__name__) == ("mlflow.pyfunc.model", "PythonModel")), None
    )
