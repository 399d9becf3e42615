"""Path templates of google.api.http: `/v1/{name=models/*}:verb`, `/api/v1/configs/{config_id}/$artifacts`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from urllib.parse import unquote

_VARIABLE = re.compile(r"\{([A-Za-z_][\w.]*)(?:=([^{}]+))?\}")
_VERB = re.compile(r":([^/:{}]+)$")


class Wildcard(IntEnum):
    """What a segment of a path may be, if not a certain word. The numbers order templates: the more certain goes first."""

    ONE = 1  # `*`: any one segment that is not empty
    REST = 2  # `**`: any number of segments, at the end only


class TemplateError(ValueError):
    """A template that is not what google.api.http describes."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A field of the request that is taken from the parts `first` up to but not including `end`."""

    field: str
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. `parts` are the segments of the path, `verb` is what follows the colon after the last one."""

    text: str
    parts: tuple[str | Wildcard, ...]
    variables: tuple[Variable, ...]
    verb: str

    @property
    def rank(self) -> tuple[bool, tuple[int, ...]]:
        """Of two templates that match a path, the one of the lower rank is meant."""
        return not self.verb, tuple(int(part) if isinstance(part, Wildcard) else 0 for part in self.parts)

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(variable.field for variable in self.variables)

    @property
    def open(self) -> bool:
        """Whether the path may have any number of segments."""
        return bool(self.parts) and self.parts[-1] is Wildcard.REST

    def match(self, path: Sequence[str]) -> dict[str, str] | None:
        """The values of the variables, by field, if the segments of a path (see `segments`) fit."""
        if self.verb:
            if not path or not path[-1].endswith(f":{self.verb}"):
                return None
            path = [*path[:-1], path[-1][: -len(self.verb) - 1]]
        if len(path) != len(self.parts) and not (self.open and len(path) >= len(self.parts) - 1):
            return None
        fixed = self.parts[:-1] if self.open else self.parts
        if not all(map(_fits, fixed, path)):
            return None
        return {variable.field: self._value(variable, path) for variable in self.variables}

    def _value(self, variable: Variable, path: Sequence[str]) -> str:
        reaches_end = self.open and variable.end == len(self.parts)
        found = path[variable.first : None if reaches_end else variable.end]
        if len(found) == 1 and not reaches_end:
            return found[0]
        return "/".join(segment.replace("/", "%2F") for segment in found)


def segments(raw_path: str) -> list[str]:
    """The segments of a path as it came, percent-encoding undone in each; a slash at the end does not count."""
    path = raw_path.removeprefix("/").removesuffix("/")
    return [unquote(segment) for segment in path.split("/")] if path else []


def parse_template(text: str) -> Template:
    """Raises TemplateError."""
    if not text.startswith("/"):
        raise TemplateError(f"{text!r} does not begin with a slash")
    body, verb = text[1:], ""
    if found := _VERB.search(body):
        body, verb = body[: found.start()], found.group(1)
    parts: list[str | Wildcard] = []
    variables: list[Variable] = []
    for piece in _pieces(body, text):
        variable = _VARIABLE.fullmatch(piece)
        inner = [_part(word, text) for word in (variable.group(2) or "*").split("/")] if variable else [_part(piece, text)]
        if variable:
            variables.append(Variable(variable.group(1), len(parts), len(parts) + len(inner)))
        parts.extend(inner)
    if Wildcard.REST in parts[:-1]:
        raise TemplateError(f"{text!r} has ** before its end")
    if len({variable.field for variable in variables}) < len(variables):
        raise TemplateError(f"{text!r} names a field twice")
    return Template(text, tuple(parts), tuple(variables), verb)


def _pieces(body: str, text: str) -> list[str]:
    """The template cut at the slashes outside of braces."""
    if body.count("{") != body.count("}"):
        raise TemplateError(f"{text!r} has a brace without its other half")
    return re.split(r"/(?![^{}]*\})", body)


def _part(word: str, text: str) -> str | Wildcard:
    if word in ("*", "**"):
        return Wildcard(len(word))
    if not word or re.search(r"[{}*:?#]", word):
        raise TemplateError(f"{text!r}: {word!r} is no segment of a path")
    return unquote(word)


def _fits(part: str | Wildcard, segment: str) -> bool:
    return bool(segment) if isinstance(part, Wildcard) else part == segment
