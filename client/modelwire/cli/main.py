"""The program `modelwire`: the root of all commands."""

import functools
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from modelwire._version import __version__
from modelwire.cli import artifacts, configs, importing, jobs, looking, models, predicting, predictors, readiness, training
from modelwire.cli.command import DEFAULT_TARGET, Json, Session, Target, Timeout, add, session_of

PLUGINS = "modelwire.commands"


class Root(TyperGroup):
    """Commands of this package and of the entry-point group `modelwire.commands`, which are imported only when needed.

    An entry point names a function that becomes the command of the entry point's name: typer reads its parameters. Or it names a
    typer.Typer with commands of its own.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        return [*(name for name in plugins() if name not in self.commands), *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        return plugin_command(cmd_name) if found is None and cmd_name in plugins() else found

    def invoke(self, ctx: Any) -> Any:
        from modelwire.cli.ends import ExitCode, Stop, report
        from modelwire.errors import ModelwireError

        try:
            return super().invoke(ctx)
        except (Stop, ModelwireError) as error:
            raise typer.Exit(report(error, as_json=session_of(ctx).json)) from None
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None


@functools.cache
def plugins() -> dict[str, EntryPoint]:
    """The commands of other packages, by name."""
    order = ["serve", "check", "init", "demo", "admin"]
    found = {point.name: point for point in entry_points(group=PLUGINS)}
    return {name: found[name] for name in sorted(found, key=lambda n: (order.index(n) if n in order else len(order), n))}


@functools.cache
def plugin_command(name: str) -> Any:
    """A plug-in as a command; one that cannot be imported becomes a command that says so."""
    try:
        function = plugins()[name].load()
    except Exception as error:
        function = _unavailable(name, str(error))
    app = typer.Typer(add_completion=False)
    if isinstance(function, typer.Typer):
        app.add_typer(function, name=name, rich_help_panel=function.rich_help_panel)
        return typer.main.get_group(app).commands[name]
    add(app, name, function)
    return typer.main.get_command(app)


def _unavailable(name: str, problem: str) -> Any:
    from modelwire.cli.ends import Stop

    def unavailable() -> None:
        raise Stop(f"`modelwire {name}` cannot be loaded: {problem}", hint='pip install "modelwire[server]" brings the server.')

    unavailable.__doc__ = f"Not available: {problem}"
    return unavailable


app = typer.Typer(
    name="modelwire",
    cls=Root,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="[bold]First steps[/bold]\n[dim]$[/dim] [cyan]modelwire demo[/cyan]\n[dim]$[/dim] [cyan]modelwire init my-model[/cyan]",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"modelwire {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    target: Target = None,
    json: Json = False,
    timeout: Timeout = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train models, predict with them, and see what became of it: a model is a service.

    Exit codes: 0 done, 1 failed, 2 wrong use or input, 3 not found, 4 server not reached, 5 canceled, 130 interrupted.
    """
    import os

    context.obj = Session(target=target or os.environ.get("MODELWIRE_TARGET") or DEFAULT_TARGET, json=json, timeout=timeout)


training.register(app)
predicting.register(app)
looking.register(app)
app.add_typer(configs.app, name="configs", rich_help_panel=looking.PANEL)
importing.register(models.app)
readiness.register(models.app)
app.add_typer(models.app, name="models", rich_help_panel=looking.PANEL)
app.add_typer(predictors.app, name="predictors", rich_help_panel=looking.PANEL)
app.add_typer(jobs.app, name="jobs", rich_help_panel=looking.PANEL)
app.add_typer(artifacts.app, name="artifacts", rich_help_panel=looking.PANEL)


def main() -> None:
    """Runs the program."""
    app(prog_name="modelwire")
