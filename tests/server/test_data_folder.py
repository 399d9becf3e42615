"""Who a server is stays the same, also if it is killed while it finds a name for itself."""

import shutil
from pathlib import Path

from modelwire_server.data_folder import worker_id


def test_a_server_keeps_its_name(tmp_path: Path) -> None:
    name = worker_id(tmp_path)
    assert len(name) == 26
    assert worker_id(tmp_path) == name


def test_two_folders_are_two_servers(tmp_path: Path) -> None:
    names = set()
    for folder in (tmp_path / "first", tmp_path / "second"):
        folder.mkdir()
        names.add(worker_id(folder))
    assert len(names) == 2


def test_a_name_that_was_not_written_to_its_end_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "worker.new").write_text("")
    assert len(worker_id(tmp_path)) == 26


def test_a_copy_of_a_folder_is_somebody_else_for_ever(tmp_path: Path) -> None:
    """It may work beside: with the same name it would take what the other does for what an earlier process of its own has left."""
    first, copy = tmp_path / "first", tmp_path / "copy"
    first.mkdir()
    name = worker_id(first)
    shutil.copytree(first, copy)
    assert worker_id(copy) == worker_id(copy) != name == worker_id(first)


def test_a_folder_that_was_moved_keeps_its_name(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    name = worker_id(first)
    assert worker_id(first.rename(tmp_path / "second")) == name


def test_a_name_that_was_written_without_its_place_is_kept(tmp_path: Path) -> None:
    (tmp_path / "worker").write_text("01J00000000000000000000000")
    assert [worker_id(tmp_path), worker_id(tmp_path)] == ["01J00000000000000000000000"] * 2
