"""Finds what it is in a model that cannot be pickled."""

import functools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any

import cloudpickle

# The search is for a better message only: it must not take long.
_SECONDS = 5.0
_DEPTH = 30


@dataclass(frozen=True, slots=True)
class Offender:
    """`path` is written as in Python, for instance `model['lock']`."""

    path: str
    type: str


class _Nowhere:
    def write(self, data: Any) -> int:
        return len(data)


def find_offender(model: Any) -> Offender:
    """The innermost part that cannot be pickled while all its own parts can, as far as parts can be seen."""
    path, part = "model", model
    until = time.monotonic() + _SECONDS
    for _ in range(_DEPTH):
        inner = next((found for found in _parts(path, part) if not _is_picklable(found[1])), None)
        if inner is None or time.monotonic() > until:
            break
        path, part = inner
    return Offender(path, type_name(type(part)))


def type_name(kind: type) -> str:
    """The name of a type as in `import`; built-in ones without their module."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _is_picklable(value: Any) -> bool:
    try:
        cloudpickle.Pickler(_Nowhere(), protocol=5).dump(value)
    except Exception:
        return False
    return True


def _parts(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What a value holds, with the path to each."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield f"{path}[{key!r}]", item
    elif isinstance(value, list | tuple | set | frozenset):
        for index, item in enumerate(value):
            yield f"{path}[{index}]", item
    elif isinstance(value, FunctionType):
        yield from _closure(path, value)
    elif isinstance(value, MethodType):
        yield f"{path}.__self__", value.__self__
    elif isinstance(value, functools.partial):
        yield from ((f"{path}.func", value.func), (f"{path}.args", value.args), (f"{path}.keywords", value.keywords))
    for name, item in getattr(value, "__dict__", {}).items():
        yield f"{path}.{name}", item


def _closure(path: str, function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The variables that a function has from around it, from its module only those that it uses."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        yield f"{path}.{name}", cell.cell_contents
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield f"{path}.{name}", function.__globals__[name]
