"""How a command ends: exit codes, and errors as people and programs read them."""

import json
from enum import IntEnum
from typing import Any

from modelwire.cli.output import error_console
from modelwire.errors import (
    Canceled,
    DeadlineExceeded,
    JobCanceled,
    JobFailed,
    ModelwireError,
    NotFound,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
)


class ExitCode(IntEnum):
    """The exit codes of all commands."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4
    CANCELED = 5
    INTERRUPTED = 130


class Stop(Exception):
    """Ends a command with a message, and with a hint that says what to do."""

    def __init__(self, message: str, *, hint: str = "", code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code


class Calm(Stop):
    """Ends a command because somebody wants so: no error."""


# The first entry that fits counts.
CODES: tuple[tuple[type[ModelwireError], ExitCode], ...] = (
    (JobFailed, ExitCode.FAILED),
    (JobCanceled, ExitCode.CANCELED),
    (Canceled, ExitCode.CANCELED),
    (NotFound, ExitCode.NOT_FOUND),
    (Unavailable, ExitCode.UNREACHABLE),
    (Unimplemented, ExitCode.UNREACHABLE),
)


def exit_code(error: ModelwireError) -> ExitCode:
    """The exit code of an error. Faults of server and runner are FAILED; what the caller can mend is USAGE."""
    for kind, code in CODES:
        if isinstance(error, kind):
            return code
    if isinstance(error, DeadlineExceeded):
        return ExitCode.FAILED if error.reason else ExitCode.UNREACHABLE
    if isinstance(error, ResourceExhausted) and error.retry_after is not None:
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED if error.code in ("INTERNAL", "DATA_LOSS", "UNKNOWN") else ExitCode.USAGE


def report(error: Stop | ModelwireError, *, as_json: bool) -> ExitCode:
    """Writes an error to standard error and returns its exit code."""
    code = error.code if isinstance(error, Stop) else exit_code(error)
    if as_json:
        error_console().print(
            json.dumps({"error": _document(error, code)}, ensure_ascii=False), soft_wrap=True, markup=False, highlight=False
        )
    else:
        _show(error)
    return code


def _document(error: Stop | ModelwireError, code: ExitCode) -> dict[str, Any]:
    if isinstance(error, Stop):
        return {"message": error.message, "hint": error.hint, "exit_code": int(code)}
    return {
        "code": error.code,
        "reason": error.reason,
        "message": error.message,
        "metadata": error.metadata,
        "violations": [{"field": v.field, "description": v.description} for v in error.violations],
        "exit_code": int(code),
    }


def _show(error: Stop | ModelwireError) -> None:
    from rich.text import Text

    console = error_console()
    calm = isinstance(error, Calm)
    lead = ("", "") if calm else ("error: ", "bold red")
    console.print(Text.assemble(lead, (_text(error), "yellow" if calm else "red")), soft_wrap=True)
    if hint := error.hint if isinstance(error, Stop) else hint_for(error):
        console.print(Text(hint), soft_wrap=True)


def _text(error: Stop | ModelwireError) -> str:
    """The message; of a connection that could not be made only the target and the last reason."""
    if not isinstance(error, Unavailable) or error.reason:
        return str(error)
    where, _, why = error.message.partition("; is ")[0].partition(": ")
    return f"{where}: {why.rpartition(': ')[2]}" if why else where


HINTS = {
    "RUNNER_NOT_FOUND": "modelwire runners lists what the server offers.",
    "CONFIG_NOT_FOUND": "modelwire configs list shows what there is.",
    "MODEL_NOT_FOUND": "modelwire models list shows the names, modelwire artifacts list --type ml_training the ids.",
    "NOT_A_MODEL": "modelwire artifacts list --type ml_training shows the models.",
    "ARTIFACT_NOT_FOUND": "modelwire artifacts list shows what there is.",
    "JOB_NOT_FOUND": "modelwire jobs list shows what there is.",
    "INVALID_CONFIG": "modelwire runners {runner} shows the fields that a config may have.",
    "MISSING_COLUMNS": "modelwire runners {runner} shows the columns that the runner needs.",
    "SCHEMA_VIOLATION": "modelwire artifacts get MODEL shows the columns that the model was trained on.",
    "MODEL_IN_USE": "Aliases are moved by modelwire models promote and removed by unalias; modelwire models delete forgets a version.",
    "PROMOTION_REFUSED": "Nothing was changed. modelwire models promote --dry-run shows all rules; --override WHY goes past them.",
    "NOTHING_TO_ROLL_BACK": "modelwire models show {model} lists the versions, modelwire models promote points the alias to any of them.",
    "RUNNER_FAILED": "The job's log has the whole story: modelwire jobs watch JOB.",
}


def hint_for(error: ModelwireError) -> str:
    """What to do about an error; empty if its message says it all."""
    if isinstance(error, JobFailed | JobCanceled) and error.job_id:
        return f"modelwire jobs show {error.job_id} has the details."
    if isinstance(error, Unavailable) and not error.reason:
        return "Start one with modelwire serve, or name another with --target or MODELWIRE_TARGET."
    return HINTS.get(error.reason, "").format_map({"runner": "RUNNER", "model": "MODEL", **error.metadata})
