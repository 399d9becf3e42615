"""What a job says while it works."""

from pathlib import Path
from typing import Any

import pytest
from job_bench import TARGETS, Bench

from modelwire_server.execution.interface import Completed
from modelwire_server.execution.local import LocalExecutor
from modelwire_server.execution.output import MAX_LINE
from modelwire_server.jobs.model import EventKind


def said(bench: Bench, do: str, **config: Any) -> None:
    assert isinstance(bench.run(bench.training(do, config=config)), Completed)


def test_output_is_caught_wherever_it_is_written(bench: Bench) -> None:
    said(bench, "report")
    assert sorted(bench.texts("stdout")) == [
        "from a subprocess",
        "from print",
        "from write",
        "no newline at the end",
    ]
    assert sorted(bench.texts("stderr")) == ["its stderr", "to stderr"]


def test_what_the_c_library_holds_back_is_not_lost(bench: Bench) -> None:
    said(bench, "printf")
    assert bench.texts("stdout") == ["from C"]


def test_log_records_keep_their_level_and_logger(bench: Bench) -> None:
    said(bench, "report")
    records = [data for data in bench.of_kind(EventKind.LOG) if data["source"] == "logging"]
    assert records == [
        {"source": "logging", "text": "from logging 1", "level": "INFO", "logger": "zoo"},
        {"source": "logging", "text": "from the context", "level": "WARNING", "logger": "runner"},
    ]


def test_progress_and_metrics_come_in_order(bench: Bench) -> None:
    said(bench, "report")
    told = [event for event in bench.events if event.kind in (EventKind.PROGRESS, EventKind.METRIC)]
    assert [event.kind.value for event in told] == ["metric", "progress"] * 3
    assert [data["step"] for data in bench.of_kind(EventKind.METRIC)] == [0, 1, 2]
    assert bench.of_kind(EventKind.PROGRESS)[-1] == {"fraction": 1.0, "message": "step 2"}


def test_a_hundred_thousand_lines(bench: Bench) -> None:
    said(bench, "many_lines", value=100_000)
    assert bench.texts("stdout") == [f"line {number}" for number in range(100_000)]


def test_ten_thousand_log_records(bench: Bench) -> None:
    said(bench, "many_records", value=10_000)
    assert bench.texts("logging") == [f"record {number}" for number in range(10_000)]


def test_a_long_line_is_cut(bench: Bench) -> None:
    said(bench, "long_line")
    assert bench.texts("stdout") == ["x" * MAX_LINE, "after"]


def test_a_line_without_end_is_cut_once(bench: Bench) -> None:
    said(bench, "endless_line")
    assert bench.texts("stdout") == ["y" * MAX_LINE]


def test_a_progress_bar_is_shown_as_it_ended(bench: Bench) -> None:
    said(bench, "carriage_returns")
    assert bench.texts("stdout") == ["100 %"]


def test_bytes_that_are_no_text(bench: Bench) -> None:
    said(bench, "binary")
    assert bench.texts("stdout") == ["\N{REPLACEMENT CHARACTER}" * 3 + "bytes"]


@pytest.mark.parametrize("do", ["many_lines", "many_records"])
def test_a_job_may_log_only_so_much(bench: Bench, tmp_path: Path, do: str) -> None:
    bench.executor = LocalExecutor(TARGETS[:1], log_limit=10_000)
    said(bench, do, value=20_000)
    bench.do(bench.executor.close())
    texts = [data["text"] for data in bench.of_kind(EventKind.LOG)]
    assert 100 < len(texts) < 300
    assert texts[-1] == "[output is cut here: the job wrote more than 10000 bytes]"
    assert bench.of_kind(EventKind.STAGE)[-1] == {"stage": "saving"}
