"""Where a model holds scikit-learn estimators: it is one itself, or has some as its items or attributes."""

import copy
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# What predict functions call, and what can be compiled.
METHODS = ("predict", "predict_proba", "decision_function", "transform")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is in a model: it is the model (`kind` is empty), its item or its attribute of that key."""

    kind: str = ""
    key: str | int = ""

    def __str__(self) -> str:
        return {"": "the model", "item": f"[{self.key!r}]", "attribute": f".{self.key}"}[self.kind]


def estimators_of(model: Any) -> dict[Place, Any]:
    """The estimators that a model is or holds directly."""
    if is_estimator(model):
        return {Place(): model}
    return {place: value for place, value in _inside(model) if is_estimator(value)}


def is_estimator(value: Any) -> bool:
    """Whether this is an estimator of scikit-learn's kind, which need not be imported for that."""
    base = sys.modules.get("sklearn.base")
    return base is not None and isinstance(value, base.BaseEstimator) and any(hasattr(value, name) for name in METHODS)


def _inside(model: Any) -> Iterator[tuple[Place, Any]]:
    if isinstance(model, Mapping):
        yield from ((Place("item", key), value) for key, value in model.items() if isinstance(key, str | int))
    elif isinstance(model, list | tuple):
        yield from ((Place("item", number), value) for number, value in enumerate(model))
    elif not isinstance(model, type):
        yield from ((Place("attribute", name), value) for name, value in getattr(model, "__dict__", {}).items())


def replaced(model: Any, others: Mapping[Place, Any]) -> Any:
    """A shallow copy of the model with other things in these places. Raises what copying raises."""
    if Place() in others:
        return others[Place()]
    if isinstance(model, tuple):
        items = [others.get(Place("item", number), value) for number, value in enumerate(model)]
        return type(model)(*items) if hasattr(model, "_fields") else tuple(items)
    found = copy.copy(model)
    for place, value in others.items():
        if place.kind == "item":
            found[place.key] = value
        else:
            # Also where the class is a frozen dataclass.
            object.__setattr__(found, str(place.key), value)
    return found
