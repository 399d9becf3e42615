"""`modelwire gateway`."""

from pathlib import Path
from typing import Annotated

import typer

from modelwire.cli.command import Json, Target, session_of, style, wants_json
from modelwire.cli.ends import Stop

from .needs import PANEL, server_packages
from .options import Host, LogFormat, LogLevel, SettingsFile, default
from .serving import reachable


@style(
    PANEL,
    "modelwire gateway --target models.internal:50051",
    "modelwire gateway --target models.example.org:443 --tls --host 0.0.0.0",
)
def gateway(
    context: typer.Context,
    target: Target = None,
    host: Host = None,
    http_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help=f"The HTTP port; 0 means a free one. {default('8000')}", show_default=False)
    ] = None,
    tls: Annotated[
        bool, typer.Option("--tls", help="Call the server over TLS, as the certificates of this machine allow.")
    ] = False,
    root_certificates: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Over TLS, as these certificates (PEM) allow.", show_default=False)
    ] = None,
    config: SettingsFile = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    json: Json = False,
) -> None:
    """Serve REST for a server elsewhere. A server does so by itself; this is for one whose HTTP port cannot be reached.

    Settings come from where those of `modelwire serve` do: max_http_body_bytes, rest_info_profile, forwarded_headers ...
    """
    as_json = wants_json(context, json)
    with server_packages():
        from modelwire.transport import find_credentials

        from ..errors import StartError
        from ..gateway.alone import forward
        from ..settings import Settings, SettingsError
    found = target or session_of(context).target
    try:
        settings = Settings.load(config, host=host, http_port=http_port, log_level=log_level, log_format=log_format)
        credentials = find_credentials(tls, root_certificates, None, None)
        forward(found, settings, credentials, lambda port: announce(found, settings.host, port, as_json=as_json))
    except (SettingsError, StartError, OSError) as error:
        raise Stop(str(error)) from None


def announce(target: str, host: str, port: int, *, as_json: bool) -> None:
    """Where it listens, and for whom."""
    from modelwire.cli.output import console, write_json

    where = f"http://{reachable(host)}:{port}"
    if as_json:
        write_json({"http": where, "target": target}, line=True)
        return
    console().print(f"REST for [bold]{target}[/bold] at [green]{where}[/green]\n\n[dim]Ctrl-C stops it.[/dim]\n", highlight=False)
