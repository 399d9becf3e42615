"""How many cores there are, in containers too."""

import os
from pathlib import Path

import pytest

from modelwire_server.cores import available_cores, granted_cores


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000", None),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("5000 100000", 1),
        ("", None),
        ("0 0", None),
        ("a b", None),
    ],
)
def test_what_a_container_is_given_is_rounded_up(tmp_path: Path, text: str, cores: int | None) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(text)
    assert granted_cores(file) == cores


def test_without_such_a_limit_nothing_is_known(tmp_path: Path) -> None:
    assert granted_cores(tmp_path / "cpu.max") is None


def test_no_more_than_the_process_is_pinned_to() -> None:
    assert 1 <= available_cores() <= len(os.sched_getaffinity(0))
