"""Commands: functions whose first parameter is a Session, and the options that all of them share."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from modelwire import Client

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_TARGET = "localhost:50051"
SHARED = "Every command"

Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="HOST:PORT",
        help=f"The server. Default: MODELWIRE_TARGET, else {DEFAULT_TARGET}.",
        show_default=False,
        rich_help_panel=SHARED,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.", rich_help_panel=SHARED)]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout", metavar="SECONDS", min=0.001, help="How long one call may take.", show_default=False, rich_help_panel=SHARED
    ),
]


@dataclass
class Session:
    """What the shared options say; the client connects when it is used first."""

    target: str = DEFAULT_TARGET
    json: bool = False
    timeout: float | None = None

    @cached_property
    def client(self) -> "Client":
        from modelwire import Client

        return Client(self.target) if self.timeout is None else Client(self.target, timeout=self.timeout)

    def close(self) -> None:
        """Ends the connection, if there is one."""
        if "client" in self.__dict__:
            self.client.close()


def session_of(context: typer.Context) -> Session:
    """The session of this run of the program."""
    session = context.find_root().ensure_object(Session)
    assert isinstance(session, Session)
    return session


@dataclass(frozen=True)
class Style:
    """How a command looks in the help."""

    panel: str = "Other commands"
    examples: tuple[str, ...] = ()


def style(panel: str, *examples: str) -> Callable[[F], F]:
    """Gives a command its panel in the help, and its examples."""

    def mark(function: F) -> F:
        function.__modelwire_style__ = Style(panel, examples)  # type: ignore[attr-defined]
        return function

    return mark


def add(app: typer.Typer, name: str, function: Callable[..., Any]) -> None:
    """Makes a function a command. With a parameter `session` it receives the Session and gets the shared options."""
    look = getattr(function, "__modelwire_style__", Style())
    command = connected(function) if "session" in inspect.signature(function).parameters else function
    app.command(name, epilog=epilog(look.examples), rich_help_panel=look.panel, no_args_is_help=False)(command)


def command(app: typer.Typer, name: str, *examples: str, panel: str = "Commands") -> Callable[[F], F]:
    """Adds the decorated function to an app."""

    def register(function: F) -> F:
        add(app, name, style(panel, *examples)(function))
        return function

    return register


def epilog(examples: tuple[str, ...]) -> str | None:
    """The examples at the end of a help page."""
    if not examples:
        return None
    lines = [f"[dim]$[/dim] [cyan]{example.replace('[', chr(92) + '[')}[/cyan]" for example in examples]
    return "\n".join(["[bold]Examples[/bold]", *lines])


def _shared(target: Target = None, json: Json = False, timeout: Timeout = None) -> None:
    """Its parameters are the options of every command."""


def connected(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function without `session` and with the shared options, which win over those given before the command's name."""
    signature = inspect.signature(function)
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for name, p in signature.parameters.items() if name != "session"]
    shared = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in inspect.signature(_shared).parameters.values()]
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)

    @functools.wraps(function)
    def run(*, context: typer.Context, target: str | None, json: bool, timeout: float | None, **arguments: Any) -> Any:
        session = session_of(context)
        session.target = target or session.target
        session.json = json or session.json
        session.timeout = timeout if timeout is not None else session.timeout
        try:
            return function(session, **arguments)
        finally:
            session.close()

    parameters = [context, *own, *shared]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def wants_json(context: typer.Context, json: bool) -> bool:
    """Whether --json was given, before or after a plug-in's name; errors are JSON from now on, too."""
    session = session_of(context)
    session.json = session.json or json
    return session.json
