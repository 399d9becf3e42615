"""Finding runners and predictors: by file, by module, by entry point."""

import importlib
import importlib.util
import inspect
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from .predictor import Predictor
from .runner import BaseModelRunner

Served = BaseModelRunner[Any] | Predictor

GROUP = "modelwire.runners"


class TargetError(Exception):
    """A target does not lead to anything that can be served; the message says why and what to do."""


def load_runner(target: str) -> BaseModelRunner[Any]:
    """The runner behind `path/module.py:name`, `package.module:name` or the name of an entry point in the group
    `modelwire.runners`. A class or a function without arguments is called. Raises TargetError."""
    found = _made(_find(target), target)
    if not isinstance(found, BaseModelRunner):
        raise TargetError(f"{target} is a {type(found).__name__}, not a runner")
    return found


def load_served(target: str) -> list[Served]:
    """What is behind a target as for load_runner(): a runner, a predictor, or a list of these. Raises TargetError."""
    found = _made(_find(target), target)
    if not isinstance(found, list | tuple):
        return [_as_served(found, target)]
    if not found:
        raise TargetError(f"{target} is an empty list: there is nothing to serve")
    return [_as_served(_made(one, f"{target}[{index}]"), f"{target}[{index}]") for index, one in enumerate(found)]


def _find(target: str) -> Any:
    place, colon, name = target.rpartition(":")
    if not colon:
        return _from_entry_point(target)
    module = _from_file(Path(place)) if place.endswith(".py") else _from_import(place)
    if not hasattr(module, name):
        raise TargetError(f"{place} has no `{name}`; {_candidates(module)}")
    return getattr(module, name)


def _from_file(path: Path) -> ModuleType:
    """Imports a file under its own name, so that what it pickles by reference is found again by that name."""
    path = path.resolve()
    if not path.is_file():
        raise TargetError(f"there is no file {path}")
    loaded = sys.modules.get(path.stem)
    if loaded is not None:
        if getattr(loaded, "__file__", None) == str(path):
            return loaded
        raise TargetError(f"{path} would hide the module `{path.stem}` that is loaded already; rename the file")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[path.stem]
        raise TargetError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _from_import(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise TargetError(f"the module {name} cannot be imported: {type(error).__name__}: {error}") from error


def _from_entry_point(name: str) -> Any:
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        known = f"installed runners: {', '.join(sorted(found))}" if found else "no runners are installed"
        raise TargetError(f"`{name}` is neither `file.py:name` nor `module:name` nor an installed runner ({known})")
    try:
        return found[name].load()
    except Exception as error:
        raise TargetError(f"the installed runner {name} cannot be loaded: {type(error).__name__}: {error}") from error


def _made(found: Any, target: str) -> Any:
    """Calls a class, or a function without arguments."""
    if isinstance(found, BaseModelRunner | Predictor) or not callable(found):
        return found
    try:
        return found()
    except Exception as error:
        raise TargetError(f"{target} cannot be made: {type(error).__name__}: {error}") from error


def _as_served(found: Any, target: str) -> Served:
    if not isinstance(found, BaseModelRunner | Predictor):
        raise TargetError(f"{target} is a {type(found).__name__}, neither a runner nor a predictor")
    return found


def _candidates(module: ModuleType) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if isinstance(value, BaseModelRunner | Predictor)
        or (inspect.isclass(value) and issubclass(value, BaseModelRunner | Predictor) and value.__module__ == module.__name__)
    ]
    return f"predictors and runners found there: {', '.join(names)}" if names else "there is neither a runner nor a predictor"
