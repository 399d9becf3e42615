"""How many cores there are, in containers too."""

import os
import threading
from pathlib import Path

import pytest

from modelwire_server import cores
from modelwire_server.cores import available_cores, granted_cores, keep_to, own_core, roam, stand_back


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


@pytest.mark.parametrize(
    ("number", "processes", "granted", "core"),
    [
        (1, 3, None, 2),
        (3, 3, None, 7),
        (3, 3, 3, 7),
        (1, 3, 2, None),  # of whichever cores
        (1, 2, None, None),
        (4, 4, None, None),
    ],
)
def test_a_core_for_each_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, processes: int, granted: int | None, core: int | None
) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text(f"{'max' if granted is None else granted * 100_000} 100000")
    monkeypatch.setattr(cores, "_GIVEN", frozenset({7, 2, 5}))
    monkeypatch.setattr(cores, "_QUOTA", quota)
    assert own_core(number, processes) == core


def test_threads_keep_to_a_core_until_they_roam() -> None:
    given, seen = os.sched_getaffinity(0), []

    def look() -> None:
        seen.append(os.sched_getaffinity(0))
        roam()
        seen.append(os.sched_getaffinity(0))

    def start() -> None:
        keep_to(max(given))
        child = threading.Thread(target=look)
        child.start()
        child.join()
        seen.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert seen == [{max(given)}, given, {max(given)}]
    assert os.sched_getaffinity(0) == given


def test_threads_that_stand_back_leave_the_others_as_they_are() -> None:
    seen = []

    def work() -> None:
        stand_back()
        seen.append(os.sched_getscheduler(0))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [*seen, os.sched_getscheduler(0)] == [os.SCHED_IDLE, os.SCHED_OTHER]


def test_where_a_process_may_not_choose_nothing_happens() -> None:
    given = os.sched_getaffinity(0)
    keep_to(1023)
    assert os.sched_getaffinity(0) == given
