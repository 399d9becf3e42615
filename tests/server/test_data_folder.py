"""Who a server is stays the same, also if it is killed while it finds a name for itself."""

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
