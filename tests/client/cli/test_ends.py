"""How errors become exit codes and messages."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import modelwire
from modelwire import errors
from modelwire.cli.ends import Calm, ExitCode, Stop, exit_code, report
from modelwire.cli.main import app

EXPECTED = {
    "AlreadyExists": 2,
    "Canceled": 5,
    "DataLoss": 1,
    "DeadlineExceeded": 4,
    "FailedPrecondition": 2,
    "Internal": 1,
    "InvalidArgument": 2,
    "JobCanceled": 5,
    "JobFailed": 1,
    "ModelwireError": 1,
    "NotFound": 3,
    "PermissionDenied": 2,
    "ResourceExhausted": 2,
    "Unauthenticated": 2,
    "Unavailable": 4,
    "Unimplemented": 4,
}


def test_every_error_has_its_exit_code() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ModelwireError)]
    assert {kind.__name__: int(exit_code(kind("no"))) for kind in kinds} == EXPECTED


def test_exit_codes_that_depend_on_more_than_the_kind() -> None:
    assert exit_code(modelwire.DeadlineExceeded("the job took too long", reason="DEADLINE_EXCEEDED")) == ExitCode.FAILED
    assert exit_code(modelwire.ResourceExhausted("later", reason="OVERLOADED", retry_after=1.0)) == ExitCode.UNREACHABLE


def test_the_exit_codes_in_the_help_and_in_the_documentation() -> None:
    said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout
    documented = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
    for code in ExitCode:
        assert re.search(rf"\b{code.value} \w+", said)
        assert f"| {code.value} |" in documented


def test_errors_are_short_and_say_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    violations = [errors.FieldViolation("data.alpha", "must be positive"), errors.FieldViolation("data.x", "is unknown")]
    error = errors.InvalidArgument(
        "data.alpha: must be positive (and 1 more)", reason="INVALID_CONFIG", metadata={"runner": "weather"}, violations=violations
    )
    assert report(error, as_json=False) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "error: data.alpha: must be positive (and 1 more)",
        "  data.x: is unknown",
        "modelwire runners weather shows the fields that a config may have.",
    ]


def test_markup_in_messages_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    report(Stop("no [bold]file[/bold] named [x]"), as_json=False)
    assert capsys.readouterr().err == "error: no [bold]file[/bold] named [x]\n"


def test_an_end_that_was_wished_for_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(Calm("You stopped watching.", hint="Come back.", code=ExitCode.INTERRUPTED), as_json=False) == 130
    assert capsys.readouterr().err == "You stopped watching.\nCome back.\n"


def test_errors_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    report(errors.NotFound("there is no job x", reason="JOB_NOT_FOUND", metadata={"job": "x"}), as_json=True)
    assert json.loads(capsys.readouterr().err)["error"] == {
        "code": "NOT_FOUND",
        "reason": "JOB_NOT_FOUND",
        "message": "there is no job x",
        "metadata": {"job": "x"},
        "violations": [],
        "exit_code": 3,
    }


def test_no_server() -> None:
    result = CliRunner().invoke(app, ["--target", "localhost:1", "info"])
    assert result.exit_code == 4
    assert result.stderr.startswith("error: cannot reach modelwire at localhost:1: Connection refused\n")
    assert "modelwire serve" in result.stderr


def test_no_server_as_json() -> None:
    result = CliRunner().invoke(app, ["info", "--json", "--target", "localhost:1"])
    assert result.exit_code == 4
    assert result.stdout == ""
    assert json.loads(result.stderr)["error"]["code"] == "UNAVAILABLE"
