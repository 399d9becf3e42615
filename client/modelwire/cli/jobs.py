"""`jobs`: work under way and work that was."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from modelwire.cli.command import Session, command
from modelwire.cli.ends import ExitCode
from modelwire.cli.output import age, card, console, duration, error_console, status_text, styled, table, write_json
from modelwire.cli.values import Limit, Runner, Yes, confirm
from modelwire.cli.watching import follow, follow_as_json

if TYPE_CHECKING:
    from modelwire import Job

app = typer.Typer(help="Trainings and predictions under way, and those that were.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
Status = Literal["pending", "running", "completed", "failed", "canceled"]
ENDS = {"failed": ExitCode.FAILED, "canceled": ExitCode.CANCELED}


@command(
    app, "list", "modelwire jobs list", "modelwire jobs list --status failed --limit 5", "modelwire jobs list --json | jq '.[].id'"
)
def list_jobs(
    session: Session,
    status: Annotated[Status | None, typer.Option("--status", help="Only jobs in this state.", show_default=False)] = None,
    kind: Annotated[
        Literal["train", "predict"] | None, typer.Option("--kind", help="Only jobs of this kind.", show_default=False)
    ] = None,
    runner: Runner = "",
    config: Annotated[str, typer.Option("--config", metavar="ID", help="Only jobs of this config.", show_default=False)] = "",
    limit: Limit = 20,
) -> None:
    """List jobs, newest first."""
    jobs = list(session.client.jobs.list(status=status or "", kind=kind or "", runner=runner, config=config, limit=limit))
    if session.json:
        return write_json(jobs)
    rows = [(j.id, status_text(j.status), j.kind, j.runner_id, _doing(j), _took(j), age(j.submitted_at)) for j in jobs]
    console().print(table("id", "status", "kind", "runner", "stage", ">took", ">age", rows=rows))
    return None


@command(app, "show", "modelwire jobs show 01J8Z6N4RS0QGJ9E2T3W5X7Y9A")
def show(session: Session, job: JobId) -> None:
    """Show one job; of a failed one also the traceback."""
    found = session.client.jobs.get(job)
    if session.json:
        return write_json(found)
    console().print(_card(found))
    if found.traceback:
        console().print()
        console().print(found.traceback.rstrip(), markup=False, style="dim")
    return None


@command(
    app,
    "watch",
    "modelwire jobs watch 01J8Z6N4RS0QGJ9E2T3W5X7Y9A",
    "modelwire jobs watch 01J8Z6N4RS0QGJ9E2T3W5X7Y9A --json | jq .kind",
)
def watch(
    session: Session,
    job: JobId,
    after: Annotated[int, typer.Option("--after", min=0, help="Only events after this sequence.")] = 0,
) -> None:
    """Follow a job to its end. Ctrl-C stops the watching, not the job. Exits with 1 if it failed, 5 if it was canceled."""
    found = session.client.jobs.get(job)
    if session.json:
        follow_as_json(found, after=after)
    else:
        follow(found, console(), after=after)
        end(found)
    raise typer.Exit(ENDS.get(found.status, ExitCode.OK))


@command(app, "cancel", "modelwire jobs cancel 01J8Z6N4RS0QGJ9E2T3W5X7Y9A --message 'wrong data'")
def cancel(
    session: Session,
    job: JobId,
    message: Annotated[str, typer.Option("--message", "-m", help="Why, for people.", show_default=False)] = "",
) -> None:
    """Stop a job: a running one's processes are ended within seconds."""
    stopped = session.client.jobs.cancel(job, message)
    if session.json:
        return write_json(stopped)
    ended = stopped.status.is_final
    console().print(f"{job} is {stopped.status}" if ended else f"{job} is being canceled; modelwire jobs watch {job} shows its end")
    return None


@command(app, "delete", "modelwire jobs delete 01J8Z6N4RS0QGJ9E2T3W5X7Y9A --yes")
def delete(session: Session, job: JobId, yes: Yes = False) -> None:
    """Cancel a job if need be, and forget it and its log. What it made stays."""
    confirm(f"Forget job {job}?", yes=yes)
    session.client.jobs.delete(job)
    if session.json:
        return write_json({"deleted": job})
    console().print(f"deleted {job}")
    return None


def end(job: "Job[Any]") -> None:
    """Says how a job ended."""
    if job.status == "completed":
        console().print(f"{job.kind} job {job.id} made {job.artifact_id} in {_took(job)}")
        return
    error_console().print(
        status_text(job.status), f"{job.kind} job {job.id}: {job.error or 'somebody asked for it'}", markup=False, soft_wrap=True
    )
    if job.traceback:
        error_console().print(f"modelwire jobs show {job.id} has the traceback")


def _doing(job: "Job[Any]") -> str:
    if job.status == "running" and job.progress is not None:
        return f"{job.stage} {job.progress:.0%}"
    return "" if job.status == "completed" else job.stage


def _took(job: "Job[Any]") -> str:
    if job.started_at is None:
        return "-"
    return duration((job.finished_at - job.started_at).total_seconds()) if job.finished_at else age(job.started_at)


def _card(job: "Job[Any]") -> Any:
    return card(
        {
            "id": job.id,
            "status": status_text(job.status),
            "kind": job.kind,
            "runner": job.runner_id,
            "config": job.config_id,
            "model": job.model_id if job.kind == "predict" else None,
            "makes": job.artifact_id,
            "stage": job.stage,
            "progress": None if job.progress is None else f"{job.progress:.0%}",
            "attempt": str(job.attempt),
            "submitted": f"{age(job.submitted_at)} ago",
            "took": _took(job),
            "events": str(job.last_sequence),
            "error": styled(job.error, "red") if job.error else None,
        }
    )
