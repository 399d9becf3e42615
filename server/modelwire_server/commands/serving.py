"""`modelwire serve`."""

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from modelwire.cli.command import Json, style, wants_json
from modelwire.cli.ends import Stop

from ..memory import tune_memory
from .needs import PACKAGES, PANEL, server_packages
from .options import Host, LogFormat, LogLevel, SettingsFile, default

if TYPE_CHECKING:
    from ..running import Running, ServedRunner
    from ..settings import Settings


@style(
    PANEL,
    "modelwire serve service.py:runner",
    "modelwire serve predictors.py:predictors",
    "modelwire serve examples/diabetes.py:runner package.module:Runner --data-dir /var/lib/modelwire",
    "modelwire serve service.py:runner --host 0.0.0.0 --log-format json",
    "modelwire serve service.py:runner --database-url postgresql://modelwire@db/modelwire --blobs-url s3://models/content",
    "modelwire serve --source wine=mlflow:Wine@champion --mlflow http://127.0.0.1:5001",
    "modelwire serve service.py:runner --expect weather --expect weather@staging",
    "modelwire serve --config modelwire.toml",
)
def serve(
    context: typer.Context,
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET",
            help="file.py:name, package.module:name, or an installed runner's name: of a runner, a predictor, or a list of them.",
            show_default=False,
        ),
    ] = None,
    host: Host = None,
    grpc_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help=f"The gRPC port; 0 means a free one. {default('50051')}", show_default=False),
    ] = None,
    http_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help=f"The port of REST, health and metrics; 0 means a free one. {default('8000')}",
            show_default=False,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help=f"Where everything is kept. {default('modelwire-data')}", show_default=False),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help=f"A PostgreSQL database: postgresql://… {default('SQLite in the data folder')}", show_default=False
        ),
    ] = None,
    blobs_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help=f"A folder or a bucket for content. {default('in the data folder')}", show_default=False),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=URI",
            help="A model of MLflow that a name follows: wine=mlflow:Wine@champion. As often as there are such models.",
            show_default=False,
        ),
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option(metavar="URL", help="The MLflow server: http://127.0.0.1:5001.", show_default=False)
    ] = None,
    watch: Annotated[
        Literal["always", "on-request"] | None,
        typer.Option(
            help=f"When MLflow is asked for such a model: on-request is at the start, and when a reload is asked for. {default('always')}",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help=f"So many processes serve, on the same ports. {default('1')}", show_default=False)
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[@ALIAS]",
            help="A model by name that is to be served: the server starts without, and is ready once it is there. May be repeated.",
            show_default=False,
        ),
    ] = None,
    max_jobs: Annotated[
        int | None, typer.Option(min=1, help=f"So many jobs run at once. {default('the number of cores')}", show_default=False)
    ] = None,
    config: SettingsFile = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    json: Json = False,
) -> None:
    """Serve models: gRPC for programs, HTTP for REST, health and metrics. Ctrl-C or SIGTERM ends it in good order.

    With several workers SIGHUP replaces them one by one by such that have imported the runners anew.

    Options win over MODELWIRE_* variables (MODELWIRE_GRPC_PORT ...), these over the settings file.
    """
    as_json = wants_json(context, json)
    # Before anything is imported that starts a thread.
    tune_memory()
    with server_packages():
        from ..settings import Settings, SettingsError
    try:
        settings = Settings.load(
            config,
            targets=targets or None,
            host=host,
            grpc_port=grpc_port,
            http_port=http_port,
            data_dir=data_dir,
            database_url=database_url,
            blobs_url=blobs_url,
            sources=followed(source, watch),
            mlflow_url=mlflow,
            workers=workers,
            expected_models=expect or None,
            max_jobs=max_jobs,
            log_level=log_level,
            log_format=log_format,
        )
    except SettingsError as error:
        raise Stop(str(error)) from None
    run(settings, as_json=as_json)


def followed(sources: list[str] | None, watch: str | None) -> list[Any] | None:
    """The setting `sources` as it is said by options. Raises Stop."""
    if watch and not sources:
        raise Stop("--watch is about models of MLflow, and there is no --source")
    if not watch:
        return list(sources or ()) or None
    parts = [source.partition("=") for source in sources or ()]
    return [{"name": name, "uri": uri, "watch": watch} for name, _, uri in parts]


def run(settings: "Settings", *, as_json: bool) -> None:
    """Serves until it is told to stop. Raises Stop if it cannot start."""
    with server_packages():
        from modelwire_runners import TargetError

        from ..errors import StartError
        from ..running import Running

        if settings.workers > 1:
            from ..supervision.serving import serve as serve_forever
        else:
            from ..app import serve as serve_forever

    started = False

    def announce(server: Running) -> None:
        nonlocal started
        started = True
        (announce_as_json if as_json else announce_to_people)(server, settings)

    try:
        serve_forever(settings, announce)
    except (StartError, TargetError) as error:
        raise Stop(str(error)) from None
    except Exception as error:
        if started:
            raise
        if settings.log_level == "debug":
            traceback.print_exc()
        raise Stop(start_problem(error), hint="--log-level debug shows the whole story.") from None


def start_problem(error: Exception) -> str:
    """Why a server did not start, in a sentence."""
    from ..errors import ModelwireError

    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"the server needs the Python module {error.name}: pip install {PACKAGES.get(error.name, error.name)}"
    first = next(iter(str(error).splitlines()), "")
    if isinstance(error, ModelwireError):
        return f"the server cannot start: {first}"
    return f"the server cannot start: {type(error).__name__}: {first}"


def announce_as_json(server: "Running", settings: "Settings") -> None:
    """One line that programs can wait for."""
    from modelwire.cli.output import write_json

    write_json(document(server, settings), line=True)


def document(server: "Running", settings: "Settings") -> dict[str, Any]:
    """Where a server listens, and what it serves."""
    return {
        "grpc": f"{reachable(server.host)}:{server.grpc_port}",
        "http": f"http://{reachable(server.host)}:{server.http_port}",
        "data_dir": str(settings.data_dir.resolve()),
        "runners": [runner.id for runner in server.runners if not runner.is_predictor],
        "predictors": [runner.id for runner in server.runners if runner.is_predictor],
    }


def reachable(host: str) -> str:
    """The host to call from this machine."""
    if host in ("0.0.0.0", "::", "127.0.0.1"):  # noqa: S104 - compared, not bound
        return "localhost"
    return f"[{host}]" if ":" in host else host


def announce_to_people(server: "Running", settings: "Settings") -> None:
    """Where it listens, what it serves, and what to type next."""
    from modelwire._version import __version__
    from modelwire.cli.output import card, console, styled, table

    where = document(server, settings)
    out = console()
    out.print(f"[bold]modelwire {__version__}[/bold] is serving\n")
    out.print(
        card(
            {
                "  gRPC": styled(where["grpc"], "bold green"),
                "  HTTP": styled(f"{where['http']}", "green"),
                "  data": where["data_dir"],
                **({"  models": ", ".join(settings.all_expected_models)} if settings.all_expected_models else {}),
            }
        )
    )
    rows = [(styled(f"  {r.id}", "cyan"), r.name, r.version, _kind(r, number)) for number, r in enumerate(server.runners)]
    if rows:
        out.print()
        out.print(table("  runner", "name", "version", " ", rows=rows))
    out.print("\n[bold]In another terminal[/bold]")
    out.print(
        "\n".join(f"  [cyan]{line}[/cyan]" for line in next_lines(where, expects=bool(settings.all_expected_models))),
        highlight=False,
        soft_wrap=True,
    )
    out.print("\n[dim]Ctrl-C stops it.[/dim]\n")


def _kind(served: "ServedRunner", number: int) -> str:
    if served.is_predictor:
        return "predictor"
    return " " if number else "default"


def next_lines(where: dict[str, Any], *, expects: bool = False) -> list[str]:
    """What to type in another terminal; `expects` is whether there are models by name that the server is to serve."""
    grpc = where["grpc"]
    elsewhere = "" if grpc == "localhost:50051" else f"export MODELWIRE_TARGET={grpc}"
    of_runners = [elsewhere, "modelwire info", "modelwire train DATA.csv"] if where["runners"] else []
    of_predictors = [f"curl {where['http']}/api/v1/predictors"] if where["predictors"] else []
    of_models = [elsewhere, "modelwire models ready"] if expects and not of_runners else []
    return [line for line in (*of_runners, *of_models, *of_predictors, f"grpcurl -plaintext {grpc} list") if line]
