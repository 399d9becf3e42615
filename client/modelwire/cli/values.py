"""Values that people type: parameters, tags, files of parameters, GeoJSON."""

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from modelwire.cli.ends import Calm, ExitCode, Stop

ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.IGNORECASE)

Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="A tag. May be repeated.", show_default=False)]
Runner = Annotated[str, typer.Option("--runner", metavar="ID", help="The runner. Default: the server's first.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="Show at most so many.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A parameter; the value is JSON or text, a dot in the key leads inside. May be repeated.",
        show_default=False,
    ),
]
GeoFile = Annotated[Path | None, typer.Option("--geo", metavar="FILE", help="A GeoJSON FeatureCollection.", show_default=False)]


def is_id(text: str) -> bool:
    """Whether a text has the form of an id."""
    return ULID.fullmatch(text) is not None


def settings_of(pairs: list[str] | None, base: dict[str, Any] | None = None) -> dict[str, Any]:
    """`["alpha=0.1", "tree.depth=3"]` as `{"alpha": 0.1, "tree": {"depth": 3}}`, laid over `base`."""
    values = dict(base or {})
    for pair in pairs or []:
        key, equals, text = pair.partition("=")
        if not equals or not all(key.split(".")):
            raise Stop(f"--set {pair}: this is no KEY=VALUE", hint="For instance --set alpha=0.1 or --set 'features=[\"age\"]'")
        _put(values, key, _value(text))
    return values


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for name in path:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):
            raise Stop(f"--set {key}: {name} has the value {inner!r} already, and that is no object")
        # A copy, so that what the values were laid over stays as it is.
        values[name] = values = dict(inner)
    values[last] = value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def measurements(pairs: list[str] | None) -> dict[str, float]:
    """`["accuracy=0.93"]` as `{"accuracy": 0.93}`."""
    found = {}
    for pair in pairs or []:
        name, _, text = pair.partition("=")
        try:
            found[name] = float(text)
        except ValueError:
            raise Stop(f"--metric {pair}: this is no NAME=NUMBER", hint="For instance --metric accuracy=0.93") from None
    return found


def read_parameters(path: Path | None) -> dict[str, Any]:
    """An object from a JSON or TOML file; `-` reads JSON from standard input."""
    if path is None:
        return {}
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise Stop(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, tomllib.TOMLDecodeError) as error:
        raise Stop(f"{path} is neither JSON nor (by its extension) TOML: {error}") from None
    if not isinstance(values, dict):
        raise Stop(f"{path} holds a {type(values).__name__}, not an object of parameters")
    return values


def read_geo(path: Path | None) -> dict[str, Any] | None:
    """A GeoJSON document."""
    return None if path is None else read_parameters(path)


def confirm(question: str, *, yes: bool) -> None:
    """Asks before something is lost. Raises Stop without a Yes, and where there is nobody to ask."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Stop(f"{question} Nobody is here to say so.", hint="Add --yes.")
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        agreed = False
    if not agreed:
        raise Calm("Nothing was done.", code=ExitCode.CANCELED)
