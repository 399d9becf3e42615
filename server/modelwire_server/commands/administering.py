"""`modelwire admin`: look after what a service keeps."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelwire.cli.command import Json, command, wants_json
from modelwire.cli.ends import ExitCode
from modelwire.cli.output import age, card, console, error_console, size, styled, table, write_json

from .needs import PANEL, server_packages
from .reporting import reported

if TYPE_CHECKING:
    from ..artifacts.garbage import Collected
    from ..upkeep.backup import BackedUp
    from ..upkeep.deletion import Deleted
    from ..upkeep.restoring import Restored
    from ..upkeep.verification import Verified
    from .stores import Stores

admin = typer.Typer(
    help="Look after what a service keeps: clean up, verify, back up, restore. Most of it beside a running server.",
    no_args_is_help=True,
    rich_help_panel=PANEL,
)
# So many rows of long lists are shown to people.
SHOWN = 20

PLACE = "Where it is kept, as for modelwire serve"
DataDir = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="The data folder; modelwire-data by default.", show_default=False, rich_help_panel=PLACE),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="A database that is not SQLite in the data folder.", show_default=False, rich_help_panel=PLACE
    ),
]
BlobsUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="A folder or a bucket for content that is not in the data folder.",
        show_default=False,
        rich_help_panel=PLACE,
    ),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings as TOML; modelwire.toml by default, if it is there.",
        show_default=False,
        rich_help_panel=PLACE,
    ),
]


@command(admin, "gc", "modelwire admin gc --dry-run", "modelwire admin gc --data-dir /var/lib/modelwire")
def collect_garbage(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing, say what would be.")] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    blobs_url: BlobsUrl = None,
    config: SettingsFile = None,
    json: Json = False,
) -> None:
    """Delete what the retention settings say, and content that nothing refers to. Servers do so by themselves, now and then.

    Content first goes into the trash for an hour, from where it comes back if somebody stores it again.
    """
    as_json = wants_json(context, json)
    with server_packages():
        from ..artifacts.garbage import collect
        from ..upkeep.alone import PATIENCE_SECONDS, alone
        from ..upkeep.deletion import Retention, delete, foresee
        from .stores import load_settings, run_on
    settings = load_settings(config, data_dir=data_dir, database_url=database_url, blobs_url=blobs_url)
    retention = Retention(settings.retention, settings.delete_jobs_after)

    async def clean(stores: "Stores") -> "tuple[Deleted, Collected]":
        if dry_run:
            return await foresee(stores.database, retention), await collect(stores.database, stores.blobs, dry_run=True)
        with reported(quiet=as_json) as report:
            async with alone(stores.database, patience=PATIENCE_SECONDS):
                deleted = await delete(stores.database, retention, lambda done, total: report("artifacts", done, total))
                return deleted, await collect(stores.database, stores.blobs)

    deleted, collected = run_on(settings, clean)
    if as_json:
        write_json({"dry_run": dry_run, "artifacts": deleted.artifacts, "jobs": deleted.jobs, "content": collected})
        return
    show_cleaned(deleted, collected, dry_run=dry_run)
    if not settings.retention and settings.delete_jobs_after is None:
        console().print("\n[dim]No retention is set: only content that nothing refers to goes.[/dim]")


def show_cleaned(deleted: "Deleted", collected: "Collected", *, dry_run: bool) -> None:
    """A line for each kind of thing that went, or would go."""
    if dry_run and deleted.artifacts:
        rows = [(a.id, a.type, a.runner_id, size(a.size), age(a.created_at)) for a in deleted.artifacts[:SHOWN]]
        console().print(table("artifact", "type", "runner", ">size", ">age", rows=rows))
        more = len(deleted.artifacts) - SHOWN
        console().print(f"[dim]and {more} more[/dim]\n" if more > 0 else "")
    lines = [
        ("artifacts", str(len(deleted.artifacts)), size(sum(artifact.size for artifact in deleted.artifacts))),
        ("jobs", str(deleted.jobs), None),
        ("content, to the trash", str(collected.discarded), None),
        ("content, for good", str(collected.purged), size(collected.bytes)),
    ]
    console().print(table("would go" if dry_run else "gone", ">count", ">size", rows=lines))


@command(admin, "verify", "modelwire admin verify", "modelwire admin verify --json | jq .findings")
def verify_all(
    context: typer.Context,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    blobs_url: BlobsUrl = None,
    config: SettingsFile = None,
    json: Json = False,
) -> None:
    """Read everything and compare it with what was recorded: content, trees, event logs. Exits with 1 if something is wrong."""
    as_json = wants_json(context, json)
    with server_packages():
        from ..upkeep.verification import verify
        from .stores import load_settings, run_on
    settings = load_settings(config, data_dir=data_dir, database_url=database_url, blobs_url=blobs_url)

    async def look(stores: "Stores") -> "Verified":
        with reported(quiet=as_json) as report:
            return await verify(stores.database, stores.blobs, report)

    verified = run_on(settings, look)
    if as_json:
        write_json(verified_document(verified))
    else:
        show_verified(verified)
    if not verified.is_good:
        raise typer.Exit(ExitCode.FAILED)


def verified_document(verified: "Verified") -> dict[str, Any]:
    """What was found, for programs."""
    return {
        "checks": [{"name": check.name, "count": check.count, "wrong": len(check.findings)} for check in verified.checks],
        "unused": verified.unused,
        "findings": [
            {"check": check.name, "subject": f.subject, "problem": f.problem} for check in verified.checks for f in check.findings
        ],
    }


def show_verified(verified: "Verified") -> None:
    """What was looked at, and what was found."""
    rows = [
        (check.name, str(check.count), styled(str(len(check.findings)), "bold red" if check.findings else "green"))
        for check in verified.checks
    ]
    out = console()
    out.print(table("looked at", ">count", ">wrong", rows=rows))
    if verified.unused:
        out.print(f"\n[dim]Nothing refers to {verified.unused} pieces of content; they go in time.[/dim]")
    if findings := [(f.subject, f.problem) for check in verified.checks for f in check.findings]:
        out.print()
        out.print(table("what", "problem", rows=findings))
    else:
        out.print("\n[green]ok[/green]  all is there, and as it was stored")


@command(admin, "backup", "modelwire admin backup /backups/today", "modelwire admin backup /mnt/other-disk/modelwire --json")
def make_backup(
    context: typer.Context,
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="A folder: an empty one, or that of an earlier backup.")],
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy all files, also where a second name for the same file would do.")
    ] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    blobs_url: BlobsUrl = None,
    config: SettingsFile = None,
    json: Json = False,
) -> None:
    """Copy everything as it is at this moment, while servers and jobs go on. Exits with 1 if some content is lost already.

    Into the folder of an earlier backup only new content is copied; the earlier one stays good until the new one is whole.
    """
    as_json = wants_json(context, json)
    with server_packages():
        from modelwire._version import __version__

        from ..upkeep.backup import back_up
        from .stores import load_settings, run_on
    settings = load_settings(config, data_dir=data_dir, database_url=database_url, blobs_url=blobs_url)

    async def save(stores: "Stores") -> "BackedUp":
        with reported(quiet=as_json) as report:
            return await back_up(
                stores.database, stores.blobs, target.resolve(), version=__version__, may_link=not copy, report=report
            )

    made = run_on(settings, save)
    manifest, copied = made.manifest, made.copied
    if as_json:
        new = {"new_blobs": copied.new_blobs, "new_bytes": copied.new_bytes, "linked": copied.linked}
        write_json({"target": str(target.resolve()), **manifest.model_dump(mode="json"), **new})
    else:
        how = f", {copied.linked} of them by link" if copied.linked else ""
        fields: dict[str, Any] = {
            "backup": styled(str(target.resolve()), "bold green"),
            "rows": str(sum(file.rows for name, file in manifest.rows.items() if name != "content")),
            "content": f"{manifest.blobs}, {size(manifest.bytes)}",
            "new": f"{copied.new_blobs}, {size(copied.new_bytes)}{how}",
        }
        console().print(card(fields))
    tell_lost(list(manifest.damaged), "is lost in the service already, and so in its backup")


@command(
    admin,
    "restore",
    "modelwire admin restore /backups/today --data-dir new-data",
    "modelwire admin restore /backups/today --database-url postgresql://modelwire@db/modelwire",
)
def bring_back(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="The folder of a backup.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    blobs_url: BlobsUrl = None,
    config: SettingsFile = None,
    json: Json = False,
) -> None:
    """Bring a backup to where nothing is yet, whatever kind of database it came from. Exits with 1 if some content is lost.

    Jobs that ran when the backup was made begin again or fail with WORKER_LOST, as their runner says.
    """
    as_json = wants_json(context, json)
    with server_packages():
        from ..upkeep.restoring import restore
        from .stores import load_settings, run_on
    settings = load_settings(config, data_dir=data_dir, database_url=database_url, blobs_url=blobs_url)

    async def load(stores: "Stores") -> "Restored":
        with reported(quiet=as_json) as report:
            return await restore(source, stores.database, stores.blobs, report)

    restored = run_on(settings, load, to_fill=True)
    rows = {name: file.rows for name, file in restored.manifest.rows.items() if name != "content"}
    if as_json:
        write_json({"rows": rows, "blobs": restored.blobs, "bytes": restored.bytes, "damaged": restored.damaged})
    else:
        fields = {
            "restored": f"the state of {restored.manifest.made_at:%Y-%m-%d %H:%M:%S} UTC, {age(restored.manifest.made_at)} ago",
            "rows": str(sum(rows.values())),
            "content": f"{restored.blobs}, {size(restored.bytes)}",
        }
        console().print(card(fields))
    tell_lost(restored.damaged, "is lost in the backup")


def tell_lost(damaged: list[str], where: str) -> None:
    """Names content that is lost and ends with FAILED, if there is any."""
    if not damaged:
        return
    out = error_console()
    for digest in damaged[:SHOWN]:
        out.print(f"[red]{digest}[/red] {where}")
    out.print(f"{len(damaged)} pieces of content are lost; modelwire admin verify tells who needs them.")
    raise typer.Exit(ExitCode.FAILED)


@command(admin, "migrate", "modelwire admin migrate --data-dir /var/lib/modelwire")
def bring_up_to_date(
    context: typer.Context,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: SettingsFile = None,
    json: Json = False,
) -> None:
    """Bring the tables of the database to this program's version, as a server does at its start. There is no way back but a backup."""
    as_json = wants_json(context, json)
    with server_packages():
        from ..database.migrations import known_revisions
        from .stores import load_settings, require_known, run_on
    settings = load_settings(config, data_dir=data_dir, database_url=database_url)

    async def migrate(stores: "Stores") -> str | None:
        before = await require_known(stores.database)
        await stores.database.migrate()
        return before

    before, after = run_on(settings, migrate, any_version=True), known_revisions()[0]
    if as_json:
        write_json({"from": before, "to": after})
    elif before == after:
        console().print(f"The tables are of version {after} already, the newest.")
    else:
        console().print(f"The tables were of version {before or 'none'} and are of version {after} now.")
