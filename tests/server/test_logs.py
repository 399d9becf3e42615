"""What is logged, in both formats, from both kinds of loggers."""

import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from modelwire_server.logs import configure_logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_json_lines_of_both_kinds_carry_the_ids(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    structlog.contextvars.bind_contextvars(request_id="R", job_id="J")
    structlog.get_logger("ours").info("made", count=3)
    logging.getLogger("grpc").warning("lost %s", "it", extra={"port": 5})
    ours, theirs = lines(capsys)
    assert (ours["event"], ours["count"], ours["level"], ours["logger"]) == ("made", 3, "info", "ours")
    assert (theirs["event"], theirs["port"], theirs["level"], theirs["logger"]) == ("lost it", 5, "warning", "grpc")
    for line in (ours, theirs):
        assert (line["request_id"], line["job_id"]) == ("R", "J")
        assert line["timestamp"].endswith("Z")


def test_errors_are_whole_and_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    try:
        raise KeyError("gone")
    except KeyError:
        structlog.get_logger().exception("ours")
        logging.getLogger("x").exception("theirs")
    for line in lines(capsys):
        assert line["exception"][0]["exc_type"] == "KeyError"


def test_what_local_variables_hold_stays_out_of_the_logs(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    secret = "password"
    try:
        raise KeyError(len(secret))
    except KeyError:
        structlog.get_logger().exception("ours")
    assert "password" not in json.dumps(lines(capsys))


def test_levels_and_chatty_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("warning", "json")
    structlog.get_logger().info("hidden")
    logging.getLogger("any").info("hidden")
    assert lines(capsys) == []
    configure_logs("info", "json")
    logging.getLogger("sqlalchemy.engine").info("SELECT 1")
    logging.getLogger("alembic.runtime.migration").info("Running upgrade")
    logging.getLogger("uvicorn.error").error("shown")
    assert [line["event"] for line in lines(capsys)] == ["shown"]


def test_warnings_are_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(capture=True)
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
    (line,) = lines(capsys)
    assert "old ways" in line["event"]


def test_the_console_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "console")
    structlog.get_logger().info("made", count=3)
    err = capsys.readouterr().err
    assert "made" in err
    assert "count=3" in err
    assert "\x1b" not in err
