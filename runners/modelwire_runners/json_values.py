"""What a model returned, as values that JSON knows."""

import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

# How libraries give out what they hold as plain Python: arrays and scalars of numpy, series of pandas and tensors of torch; tables of
# Arrow; frames and series of polars.
_GIVE_OUT = ("tolist", "to_pylist", "to_dicts", "to_list")


class InvalidResult(ValueError):
    """A result is not what JSON, or the contract, can hold; `rule` is `json`, `finite` or `scores`."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def plain_json(value: Any, place: str = "the result") -> Any:
    """The value as None, bool, int, float, str, list and dict. Arrays become lists, data frames lists of records, dates text. Raises
    InvalidResult for anything else, and for numbers that are not finite."""
    try:
        return _plain(value, place)
    except RecursionError:
        raise InvalidResult("json", f"{place} is nested too deeply for JSON") from None


def _plain(value: Any, place: str) -> Any:
    match value:
        case None | bool():
            return value
        case str():
            return str(value)
        case int():
            return int(value)
        case float() | Decimal():
            return _finite(float(value), place)
        case datetime() | date() | time():
            return value.isoformat()
        case Mapping():
            return {_key(key, place): _plain(one, f"{place}[{key!r}]") for key, one in value.items()}
        case list() | tuple():
            return [_plain(one, f"{place}[{index}]") for index, one in enumerate(value)]
    return _plain(_given_out(value, place), place)


def _finite(number: float, place: str) -> float:
    if not math.isfinite(number):
        raise InvalidResult("finite", f"{place} is {number}, which JSON does not know")
    return number


def _key(key: Any, place: str) -> str:
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise InvalidResult("json", f"{place} has a key of type {type(key).__name__}; JSON knows only text")
    return str(key)


def _given_out(value: Any, place: str) -> Any:
    """What a library's own object holds."""
    if hasattr(value, "iloc") and hasattr(value, "to_dict") and getattr(value, "ndim", 0) == 2:
        return value.to_dict(orient="records")
    for name in _GIVE_OUT:
        give = getattr(value, name, None)
        if callable(give):
            held = give()
            if type(held) is not type(value):
                return held
    raise InvalidResult("json", f"{place} is a {type(value).__name__}, which JSON does not know; convert_output can change it")


def plain_scores(value: Any, hook: str = "run_scores") -> dict[str, float]:
    """Scores by their names, as `hook` returned them; a single number is called `score`. Raises InvalidResult for all but finite
    numbers."""
    if not isinstance(value, Mapping):
        return {"score": _number(value, "the score", hook)}
    return {_key(name, f"the result of {hook}"): _number(one, f"the score {name!r}", hook) for name, one in value.items()}


def _number(value: Any, what: str, hook: str) -> float:
    held = plain_json(value, what)
    if isinstance(held, bool) or not isinstance(held, int | float):
        raise InvalidResult(
            "scores", f"{what} is {type(value).__name__}, not a number; {hook} returns a number or a dict of numbers"
        )
    return float(held)
