"""Whether the trees of a model are sound: scikit-learn's C code goes where their numbers point, and does not look whether that exists.

Trees that decide are looked through. Trees that find neighbours are made anew from their rows, which takes no longer than to check them.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import ModelNotLoadable

_LEAF = -1
_NEIGHBOUR_TREES = ("KDTree", "BallTree")
# Distances that need nothing but the rows.
_METRICS = {"EuclideanDistance64": "euclidean", "ManhattanDistance64": "manhattan", "ChebyshevDistance64": "chebyshev"}


def check_trees(model: Any) -> None:
    """Raises ModelNotLoadable for trees that point to nodes or columns that do not exist, or back to where they came from."""
    for holder in nested(model):
        known = vars(holder)
        columns = known.get("n_features_in_", 0)
        if hasattr(known.get("tree_"), "node_count"):
            _check_tree(known["tree_"], columns)
        for name, value in known.items():
            if type(value).__name__ in _NEIGHBOUR_TREES:
                known[name] = _grown_anew(value)
        if "_fit_X" in known:
            _check_neighbours(known, columns)
        if isinstance(known.get("_predictors"), list):
            for predictor in (one for stage in known["_predictors"] for one in stage):
                _check_predictor(predictor, columns)
        if isinstance(known.get("estimators_"), np.ndarray):
            _check_stages(known, columns)


def nested(model: Any) -> Iterator[Any]:
    """The model and all that it is made of that has attributes, each once."""
    seen: set[int] = set()
    pending = [model]
    while pending:
        one = pending.pop()
        if id(one) in seen or isinstance(one, str | bytes | int | float | type(None)):
            continue
        seen.add(id(one))
        if isinstance(one, dict):
            pending.extend(one.values())
        elif isinstance(one, list | tuple | set) or (isinstance(one, np.ndarray) and one.dtype == object):
            pending.extend(one.ravel() if isinstance(one, np.ndarray) else one)
        elif isinstance(getattr(one, "__dict__", None), dict) and not isinstance(one, type):
            yield one
            pending.extend(vars(one).values())


def _check_tree(tree: Any, columns: int) -> None:
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    inner = left != _LEAF
    _require(tree.node_count > 0 and tree.n_features <= columns)
    _require_descending(left, right, inner)
    _require(_within(feature[inner], columns))
    _require((right[~inner] == _LEAF).all())


def _check_predictor(predictor: Any, columns: int) -> None:
    """A tree of histogram gradient boosting. Its columns are counted behind its own preprocessing, which keeps their number."""
    nodes = predictor.nodes
    inner = nodes["is_leaf"] == 0
    _require(len(nodes) > 0)
    _require_descending(nodes["left"].astype("i8"), nodes["right"].astype("i8"), inner)
    _require(_within(nodes["feature_idx"][inner], columns))
    for bitsets in (predictor.binned_left_cat_bitsets, predictor.raw_left_cat_bitsets):
        _require(_within(nodes["bitset_idx"][inner & (nodes["is_categorical"] != 0)], len(bitsets)))
        _require(bitsets.ndim == 2 and bitsets.shape[1] == 8)


def _check_stages(boosting: dict[str, Any], columns: int) -> None:
    """Gradient boosting adds up the trees of a stage without asking them."""
    stages = boosting["estimators_"]
    classes = boosting.get("n_classes_", len(boosting.get("classes_", ())))
    width = classes if classes > 2 else 1
    _require(stages.ndim == 2 and stages.shape[1] == width)
    for tree in stages.ravel():
        _require(getattr(getattr(tree, "tree_", None), "n_features", None) == columns)
        _require(tree.tree_.value.shape[1:] == (1, 1))


def _grown_anew(tree: Any) -> Any:
    rows, *_, leaf_size = tree.__getstate__()[:5]
    metric = _METRICS.get(type(tree.__getstate__()[11]).__name__)
    _require(metric is not None and isinstance(rows, np.ndarray) and isinstance(leaf_size, int) and leaf_size > 0)
    return type(tree)(np.array(rows), leaf_size=leaf_size, metric=metric)


def _check_neighbours(known: dict[str, Any], columns: int) -> None:
    """The class of each row that may be a neighbour is one that there is."""
    rows, classes, chosen = known["_fit_X"], known.get("classes_"), known.get("_y")
    _require(getattr(rows, "shape", (0, 0))[1] == columns)
    if isinstance(classes, np.ndarray) and isinstance(chosen, np.ndarray):
        _require(len(chosen) == rows.shape[0] and (chosen.ndim > 1 or _within(chosen, len(classes))))


def _require_descending(left: Any, right: Any, inner: Any) -> None:
    """Children stand behind their parents, so that every way down ends."""
    count, places = len(left), np.flatnonzero(inner)
    for children in (left[inner], right[inner]):
        _require(((children > places) & (children < count)).all())


def _within(values: Any, count: int) -> bool:
    return bool(((values >= 0) & (values < count)).all())


def _require(holds: Any) -> None:
    if not holds:
        raise ModelNotLoadable("the file holds a tree whose nodes point to nowhere: it is damaged, or was made to do harm")
