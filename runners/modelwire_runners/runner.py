"""The base of all runners, and the runner made of plain functions."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

from .config import BaseConfig
from .diagnostics import ValidationDiagnostic
from .info import ArtifactHierarchy, RetryPolicy, RunnerInfo, RunnerLimits, slug

ConfigT = TypeVar("ConfigT", bound=BaseConfig)


class BaseModelRunner(ABC, Generic[ConfigT]):
    """A model that can be served: subclass it, train in `on_train`, predict in `on_predict`. Methods may be sync or async.

    All attributes have defaults, so that a subclass need not call `super().__init__()`. Functions receive pandas frames, or
    `pyarrow.Table` or `polars.DataFrame` where the parameter is annotated so. A parameter `context` receives a RunContext; `geo` and
    `context` may be left out.
    """

    config_schema: type[BaseConfig] = BaseConfig
    hierarchy: ArtifactHierarchy = ArtifactHierarchy()
    limits: RunnerLimits = RunnerLimits()
    retry: RetryPolicy = RetryPolicy()
    # How many jobs of this runner may run at once, on all servers together; None means as many as there is room for.
    max_concurrency: int | None = None
    # How many jobs of this runner may wait; None means that only the server's own limit holds.
    max_pending: int | None = None
    # Whether predictions have exactly one row per row of `future`.
    same_rows: bool = True
    # Whether each prediction depends on its own row of `future` and the model only: not on other rows, `historic`, the date or chance.
    # The server may then run several predictions as one call, and cut large frames.
    independent_rows: bool = False
    # Whether scikit-learn estimators in the model may be compiled at the end of a training, where rows are independent.
    compile: bool = True
    # Columns of the training data that are not there at a prediction: what is to be predicted.
    target_columns: ClassVar[list[str]] = []
    # What is done to columns by these names before training, predicting and scoring: functions from an array of NumPy to another, such as
    # numpy.log1p. What a prediction sends is what the training was sent, so that neither is transformed twice, or never.
    transforms: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    # Columns that predictions must have.
    prediction_columns: ClassVar[list[str]] = []
    info: RunnerInfo

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for base in getattr(cls, "__orig_bases__", ()):
            arguments = get_args(base) if get_origin(base) is BaseModelRunner else ()
            schema = arguments[0] if arguments else None
            if inspect.isclass(schema) and issubclass(schema, BaseConfig) and "config_schema" not in cls.__dict__:
                cls.config_schema = schema
        if not hasattr(cls, "info"):
            cls.info = RunnerInfo(id=slug(cls.__name__))

    def on_init(self) -> Any:
        """Called before every training and prediction."""

    def on_cleanup(self) -> Any:
        """Called after every training and prediction, also when it failed."""

    def on_load(self, config: ConfigT, content: Any) -> Any:
        """Called once when a model that was made elsewhere has been read, with what its file holds: the object of a skops file or a pickle,
        an `onnxruntime.InferenceSession`, or the tensors of a safetensors file as numpy arrays by name. What it returns is the model that
        on_predict is given."""
        return content

    @abstractmethod
    def on_train(self, config: ConfigT, data: Any, geo: Any = None) -> Any:
        """Trains on `data` and returns the model: any object that can be pickled."""

    @abstractmethod
    def on_predict(self, config: ConfigT, model: Any, historic: Any, future: Any, geo: Any = None) -> Any:
        """Predicts for the rows of `future` with what on_train returned. Returns a frame, by default a row per row of `future`."""

    def on_validate_train(self, config: ConfigT, data: Any, geo: Any = None) -> list[ValidationDiagnostic]:
        """Findings about the input of a training, before it is run."""
        return []

    def on_validate_predict(self, config: ConfigT, historic: Any, future: Any, geo: Any = None) -> list[ValidationDiagnostic]:
        """Findings about the input of a prediction, before it is run."""
        return []

    def on_score(self, config: ConfigT, model: Any, data: Any) -> Any:
        """How good the model is on rows whose target is known: a number, or a dict of several. Unless it is written, predictions
        are compared with the target."""
        raise NotImplementedError

    def function(self, name: str) -> Callable[..., Any]:
        """The author's own function behind a hook, whose signature and annotations count."""
        function: Callable[..., Any] = getattr(self, name)
        return function

    def overrides(self, name: str) -> bool:
        """Whether the author wrote this hook."""
        return getattr(type(self), name) is not getattr(BaseModelRunner, name)


class FunctionalModelRunner(BaseModelRunner[BaseConfig]):
    """A runner made of functions: `train(config, data, geo)` and `predict(config, model, historic, future, geo)`, sync or async."""

    def __init__(
        self,
        on_train: Callable[..., Any],
        on_predict: Callable[..., Any],
        *,
        on_init: Callable[[], Any] | None = None,
        on_cleanup: Callable[[], Any] | None = None,
        on_load: Callable[..., Any] | None = None,
        on_validate_train: Callable[..., Any] | None = None,
        on_validate_predict: Callable[..., Any] | None = None,
        on_score: Callable[..., Any] | None = None,
        config_schema: type[BaseConfig] = BaseConfig,
        info: RunnerInfo | None = None,
        hierarchy: ArtifactHierarchy | None = None,
        limits: RunnerLimits | None = None,
        retry: RetryPolicy | None = None,
        max_concurrency: int | None = None,
        max_pending: int | None = None,
        same_rows: bool = True,
        independent_rows: bool = False,
        compile: bool = True,
        target_columns: list[str] | None = None,
        prediction_columns: list[str] | None = None,
        transforms: Mapping[str, Callable[[Any], Any]] | None = None,
    ) -> None:
        self._functions = {
            "on_train": on_train,
            "on_predict": on_predict,
            "on_init": on_init,
            "on_cleanup": on_cleanup,
            "on_load": on_load,
            "on_validate_train": on_validate_train,
            "on_validate_predict": on_validate_predict,
            "on_score": on_score,
        }
        self.config_schema = config_schema
        self.info = info or RunnerInfo(id=slug(getattr(inspect.getmodule(on_train), "__name__", "model")))
        self.hierarchy = hierarchy or ArtifactHierarchy()
        self.limits = limits or RunnerLimits()
        self.retry = retry or RetryPolicy()
        self.max_concurrency = max_concurrency
        self.max_pending = max_pending
        self.same_rows = same_rows
        self.independent_rows = independent_rows
        self.compile = compile
        self.target_columns = target_columns or []  # type: ignore[misc]
        self.prediction_columns = prediction_columns or []  # type: ignore[misc]
        self.transforms = transforms or {}  # type: ignore[misc]
        check_signature(on_train, "on_train", ("config", "data"))
        check_signature(on_predict, "on_predict", ("config", "model", "historic", "future"))
        if on_score is not None:
            check_signature(on_score, "on_score", ("config", "model", "data"))

    def on_train(self, config: BaseConfig, data: Any, geo: Any = None) -> Any:
        return self.function("on_train")(config, data, geo)

    def on_predict(self, config: BaseConfig, model: Any, historic: Any, future: Any, geo: Any = None) -> Any:
        return self.function("on_predict")(config, model, historic, future, geo)

    def function(self, name: str) -> Callable[..., Any]:
        return self._functions[name] or getattr(super(), name)

    def overrides(self, name: str) -> bool:
        return self._functions[name] is not None


def check_signature(function: Callable[..., Any], hook: str, expected: tuple[str, ...]) -> None:
    """Raises TypeError if a function cannot be called with the hook's arguments in their order."""
    if not callable(function):
        raise TypeError(f"{hook} must be a function, not {type(function).__name__}")
    try:
        inspect.signature(function).bind(*expected, **optional_arguments(function, geo=None, context=None))
    except TypeError as error:
        name = getattr(function, "__name__", repr(function))
        raise TypeError(f"{hook} is called with ({', '.join(expected)}[, geo][, context]), but {name}: {error}") from None


def optional_arguments(function: Callable[..., Any], **values: Any) -> dict[str, Any]:
    """Those of the values that the function has a parameter for."""
    parameters = inspect.signature(function).parameters
    takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    return {name: value for name, value in values.items() if takes_all or name in parameters}
