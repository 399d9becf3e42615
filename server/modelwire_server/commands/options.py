"""Options that commands which serve have in common."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def default(value: str) -> str:
    """How Typer shows a default; options do not have these themselves, since variables and the settings file come in between."""
    return f"[dim]\\[default: {value}][/dim]"


Host = Annotated[str | None, typer.Option(help=f"The address to listen on. {default('127.0.0.1')}", show_default=False)]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help=f"Settings as TOML. {default('modelwire.toml, if it is there')}", show_default=False
    ),
]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"] | None, typer.Option(help=default("info"), show_default=False)]
LogFormat = Annotated[
    Literal["console", "json"] | None,
    typer.Option(help=f"For people or for programs. {default('console')}", show_default=False),
]
