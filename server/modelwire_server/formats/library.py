"""The built-in runner: models of common libraries, which predict with what they are."""

from collections.abc import Sequence
from typing import Any, Protocol

from modelwire_runners import ArtifactHierarchy, BaseConfig, BaseModelRunner, RunnerInfo
from modelwire_runners.frames import Frame

from ..errors import ModelNotLoadable
from .estimators import EstimatorModel, is_estimator
from .graphs import GraphModel, is_session
from .python_functions import PythonFunction, is_python_function

RUNNER_ID = "imported"


class LibraryModel(Protocol):
    """What on_load makes of a model: something that predicts frames, and tells what it knows of itself. `inputs` are the columns with the
    names of their Arrow types, as far as they are known; `null` stands for any type."""

    @property
    def algorithm(self) -> str: ...
    @property
    def framework(self) -> str: ...
    @property
    def inputs(self) -> Sequence[tuple[str, str]]: ...
    def inputs_named(self, names: Sequence[str]) -> Sequence[tuple[str, str]]:
        """The columns, where somebody says how they are called. Raises InvalidField if there are not as many."""

    def predict(self, frame: Frame) -> Any:
        """Columns of predictions by name. Raises InvalidField for frames that the model cannot take."""


class LibraryRunner(BaseModelRunner[BaseConfig]):
    """Models that were made elsewhere with scikit-learn, or saved as ONNX."""

    info = RunnerInfo(
        id=RUNNER_ID,
        display_name="Models of common libraries",
        description="Predicts with models that were imported: estimators of scikit-learn, graphs of ONNX, functions of MLflow.",
    )
    hierarchy = ArtifactHierarchy()
    independent_rows = True
    compile = False

    def on_load(self, config: BaseConfig, content: Any) -> LibraryModel:
        if is_session(content):
            return GraphModel(content)
        if is_python_function(content):
            return PythonFunction(content)
        if is_estimator(content):
            return EstimatorModel(content)
        if isinstance(content, dict):
            raise ModelNotLoadable("weights alone predict nothing: name the runner that they are for")
        if callable(getattr(content, "predict", None)):
            return EstimatorModel(content)
        raise ModelNotLoadable(
            f"the file holds a {type(content).__qualname__}, which has no `predict`: name the runner that it is for"
        )

    def on_train(self, config: BaseConfig, data: Any, geo: Any = None) -> Any:
        raise NotImplementedError("models that were made elsewhere are not trained here")

    def on_predict(self, config: BaseConfig, model: LibraryModel, historic: Frame, future: Frame) -> Any:  # type: ignore[override]
        return model.predict(future)


LIBRARY_RUNNER = LibraryRunner()
