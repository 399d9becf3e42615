"""Estimators of scikit-learn, and what else has their `predict`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from modelwire_runners.frames import Frame

from ..errors import FieldViolation, InvalidField, UntrustedContent
from .outputs import PREDICTION, Columns, class_columns, columns_of
from .trees import nested

# Whose `predict` is the class that is most likely by `predict_proba`, so that one of the two need not be computed.
_MOST_LIKELY = frozenset(
    {
        "DecisionTreeClassifier",
        "ExtraTreeClassifier",
        "ExtraTreesClassifier",
        "GradientBoostingClassifier",
        "HistGradientBoostingClassifier",
        "LogisticRegression",
        "RandomForestClassifier",
    }
)
# Steps whose columns have names, or hold more than numbers.
_NAMED = frozenset({"ColumnTransformer", "FunctionTransformer", "OneHotEncoder", "OrdinalEncoder", "TargetEncoder"})
_TEXTS = frozenset({"CountVectorizer", "HashingVectorizer", "TfidfVectorizer"})
MATRIX, FRAME, TEXT = "matrix", "frame", "text"


def is_estimator(content: Any) -> bool:
    """Whether this is a fitted estimator of scikit-learn that can predict."""
    return hasattr(content, "get_params") and callable(getattr(content, "predict", None))


class EstimatorModel:
    """Predicts with an estimator. `features` are the columns that it was fitted on, in their order, empty if it knows none; `kind` is how
    it takes them: as a matrix of numbers, as a frame of pandas, or as a list of texts."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        parts = list(nested(estimator))
        _refuse_files(parts)
        self.features: Sequence[str] = tuple(str(name) for name in _attribute(estimator, "feature_names_in_", ()))
        self.width = int(_attribute(estimator, "n_features_in_", 0))
        self.kind = _kind_of(parts, self.width)
        _prepare(parts, is_matrix=self.kind == MATRIX)
        self._classes = _classes_of(estimator)
        self._predict: Callable[[Any], Any] = estimator.predict
        self._is_most_likely = type(last_of(estimator)).__name__ in _MOST_LIKELY
        if self.kind == MATRIX and not _takes_numbers(estimator, self.width):
            self.kind = FRAME

    @property
    def algorithm(self) -> str:
        return type(last_of(self.estimator)).__name__

    @property
    def framework(self) -> str:
        library = type(self.estimator).__module__.partition(".")[0]
        return "scikit-learn" if library == "sklearn" else library

    @property
    def inputs(self) -> Sequence[tuple[str, str]]:
        """The columns with the names of their types, `null` for any."""
        return self.inputs_named(self.features)

    def inputs_named(self, names: Sequence[str]) -> Sequence[tuple[str, str]]:
        require_as_many(names, self.width)
        kind = {MATRIX: "double", TEXT: "string", FRAME: "null"}[self.kind]
        return [(name, kind) for name in names]

    def predict(self, frame: Frame) -> Columns:
        rows = self._rows(frame)
        if self._classes is None:
            return columns_of(PREDICTION, self._predict(rows))
        probabilities = self.estimator.predict_proba(rows)
        chosen = self._classes[probabilities.argmax(axis=1)] if self._is_most_likely else self._predict(rows)
        return columns_of(PREDICTION, chosen) | class_columns(self._classes, probabilities)

    def _rows(self, frame: Frame) -> Any:
        if self.kind == MATRIX:
            return matrix_of(frame, self.features, self.width)
        table = frame.table()
        if self.kind == TEXT:
            return table.column(self.features[0] if self.features else 0).to_pylist()
        return table.select(named(self.features, table.column_names)).to_pandas()


def require_as_many(names: Sequence[str], width: int) -> None:
    """Raises InvalidField for names that are not as many as the columns, if it is known how many these are."""
    if names and width and len(names) != width:
        raise InvalidField.of(FieldViolation("features", f"are {len(names)} names, and the model takes {width} columns"))


def matrix_of(frame: Frame, features: Sequence[str], width: int) -> Any:
    """The columns as numbers side by side. Raises InvalidField unless they are as many as are wanted, or the wanted ones are among them."""
    matrix = frame.matrix()
    if matrix.shape[1] == width:
        return matrix
    if not features:
        text = f"has {matrix.shape[1]} columns, and the model was made with {width}: send these alone, in their order"
        raise InvalidField.of(FieldViolation("future", text))
    names = frame.table().column_names
    return matrix[:, [names.index(name) for name in named(features, names)]]


def named(features: Sequence[str], names: Sequence[str]) -> Sequence[str]:
    """The columns to take: those that the model wants, or all if it knows none by name. Raises InvalidField for missing ones."""
    if missing := [name for name in features if name not in names]:
        raise InvalidField.of(*[FieldViolation(f"future.{name}", "is missing: the model was made with it") for name in missing])
    return features or names


def last_of(estimator: Any) -> Any:
    """The estimator that predicts: the last step of a pipeline, the best one of a search."""
    if hasattr(estimator, "best_estimator_"):
        return last_of(estimator.best_estimator_)
    steps = getattr(estimator, "steps", None)
    return last_of(steps[-1][1]) if steps else estimator


def _kind_of(parts: Sequence[Any], width: int) -> str:
    kinds = {type(part).__name__ for part in parts}
    if kinds & _NAMED or any(hasattr(part, "_sklearn_output_config") for part in parts):
        return FRAME
    if kinds & _TEXTS:
        return TEXT
    return MATRIX if width else FRAME


def _takes_numbers(estimator: Any, width: int) -> bool:
    try:
        estimator.predict(np.ones((1, width)))
    except Exception:
        return False
    return True


def _prepare(parts: Sequence[Any], *, is_matrix: bool) -> None:
    """Predictions are done side by side already, and a matrix has no names that could be compared."""
    for part in parts:
        known = vars(part)
        if known.get("n_jobs") is not None:
            known["n_jobs"] = None
        if is_matrix:
            known.pop("feature_names_in_", None)


def _refuse_files(parts: Sequence[Any]) -> None:
    """Raises UntrustedContent for estimators that take what callers send for the names of files on this machine."""
    for part in parts:
        if type(part).__name__ in _TEXTS and vars(part).get("input", "content") != "content":
            kind = type(part).__name__
            raise UntrustedContent(f"the {kind} in the model reads files of this machine: fit one that reads texts", types=kind)


def _classes_of(estimator: Any) -> Any:
    """The classes, if there is one target and the model tells how likely they are."""
    classes = _attribute(estimator, "classes_", None)
    is_told = isinstance(classes, np.ndarray) and classes.ndim == 1 and hasattr(estimator, "predict_proba")
    return classes if is_told else None


def _attribute(estimator: Any, name: str, default: Any) -> Any:
    """An attribute that may be a property which raises."""
    try:
        return getattr(estimator, name, default)
    except Exception:
        return default
