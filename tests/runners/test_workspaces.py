"""The folders that scripts work in: filled, taken stock of, restored."""

import hashlib
import os
import socket
import stat
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwire_runners.copying import Copier, SharedFiles
from modelwire_runners.project import NEVER_COPIED, Content, Project, content_of
from modelwire_runners.workspace import Stock, WorkFolder, WorkspaceError

OLD = 1_600_000_000


def fill(folder: Path, files: dict[str, str]) -> Path:
    """Makes files that nobody has touched for long."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        os.utime(folder / name, (OLD, OLD))
    return folder


def paths(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Project], WorkFolder]:
    """A workspace that is filled from a project."""

    def copy(project: Project) -> WorkFolder:
        work = WorkFolder(tmp_path / "jobs" / str(len(list((tmp_path / "jobs").glob("*")))), tmp_path / "shared")
        work.copy_project(project)
        work.hand_over()
        return work

    return copy


def source(work: WorkFolder, stock: Stock) -> Callable[[str], Path]:
    return {file.content.digest: work.root / file.path for file in stock.files}.__getitem__


def test_litter_is_not_copied(root: Path, copied: Callable[[Project], WorkFolder]) -> None:
    kept = {"train.py": "", "lib/data.py": "", "lib/builders/x.py": "", "environment/x": ""}
    litter = {
        *(
            ".git/HEAD",
            ".gitignore",
            ".venv/bin/python",
            "venv/x",
            "node_modules/x/index.js",
            "lib/__pycache__/data.pyc",
            "x.egg-info/a",
        ),
        *(
            "lib/fast.so",
            "a.dylib",
            "old.pyc",
            "cases.db",
            "cases.db-wal",
            "lib/a.sqlite3-journal",
            "build/x",
            "lib/dist/y",
            ".DS_Store",
        ),
        *("data-of-a-server/lock", "data-of-a-server/blobs/x", ".pytest_cache/x", ".vscode/settings.json"),
    }
    fill(root, {**kept, **dict.fromkeys(litter, "")})
    work = copied(Project(root))
    assert {file.path for file in work.take_stock().files} == kept.keys()
    assert len(NEVER_COPIED) > 20


def test_a_project_says_itself_what_is_not_copied(root: Path, copied: Callable[[Project], WorkFolder]) -> None:
    fill(
        root, {".modelwireignore": "drafts/\n*.tmp\n!build\n", "a.tmp": "", "drafts/x": "", "build/x": "", "notes.md": "", "a": ""}
    )
    project = Project(root, ignore=("notes.md",))
    assert paths(copied(project).root) == {"a", "build", "build/x"}
    fill(root, {".modelwireignore": "a\n"})
    assert paths(copied(project).root) == {"a.tmp", "drafts", "drafts/x"}, "the file counts as it is now"


def test_what_is_the_servers_is_not_copied(root: Path, copied: Callable[[Project], WorkFolder]) -> None:
    fill(root, {"state/x": "", "jobs.data": "", "jobs.data-wal": "", "a": ""})
    project = Project(root)
    project.index([root / "state", root / "jobs.data"])
    assert paths(copied(project).root) == {"a"}


def test_copies_are_as_the_files_are(root: Path, copied: Callable[[Project], WorkFolder]) -> None:
    fill(root, {"run.sh": "echo", "lib/a.txt": "text"})
    (root / "run.sh").chmod(0o750)
    (root / "empty").mkdir()
    (root / "link").symlink_to("lib/a.txt")
    work = copied(Project(root))
    stock = work.take_stock()
    assert [(file.path, oct(file.mode)) for file in stock.files] == [("lib/a.txt", "0o644"), ("run.sh", "0o750")]
    assert stock.files[0].content == Content(f"sha256:{hashlib.sha256(b'text').hexdigest()}", 4, zlib.crc32(b"text"))
    assert (stock.folders, [(link.path, link.target) for link in stock.links]) == (("empty",), [("link", "lib/a.txt")])
    assert (work.root / "run.sh").stat().st_mtime == OLD
    (work.root / "lib/a.txt").write_text("changed")
    assert (root / "lib/a.txt").read_text() == "text"


def test_links_that_lead_out_and_what_is_no_file_are_left_out(
    root: Path, tmp_path: Path, copied: Callable[[Project], WorkFolder]
) -> None:
    (tmp_path / "secret").write_text("secret")
    fill(root, {"a": ""})
    for name, target in (("out", "../secret"), ("absolute", str(tmp_path / "secret")), ("around", "around")):
        (root / name).symlink_to(target)
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(root)
        listener.bind("socket")
        os.chdir(here)
        work = copied(Project(root))
    assert paths(work.root) == {"a", "around"}
    assert [why.partition(":")[0] for why in work.left_out] == ["absolute", "out"]
    (work.root / "escape").symlink_to("/etc/passwd")
    stock = work.take_stock()
    assert [link.path for link in stock.links] == ["around"]
    assert [why.partition(":")[0] for why in stock.left_out] == ["absolute", "out", "escape"]


def test_unchanged_files_are_not_read_again(root: Path, copied: Callable[[Project], WorkFolder]) -> None:
    size = 10_000_000
    fill(root, {"large": "x" * size, "small": "one"})
    project = Project(root)
    wait_until_settled(root / "small")
    project.index()
    before = bytes_read()
    work = copied(project)
    (work.root / "small").write_text("1.0")
    (work.root / "new").write_text("new")
    stock = work.take_stock()
    # Some kernels count what is copied from file to file as read.
    assert bytes_read() - before < 1.5 * size
    assert {file.path: file.content for file in stock.files} == {
        name: content_of(work.root / name) for name in ("large", "small", "new")
    }


def bytes_read() -> int:
    """Bytes that this process has asked for so far."""
    return int(Path("/proc/self/io").read_text().split()[1])


def wait_until_settled(path: Path) -> None:
    """Until any further change would be seen by the file's times."""
    made = path.stat().st_ctime_ns
    probe = path.with_name("probe")
    while True:
        probe.touch()
        if probe.stat().st_ctime_ns > made + 30_000_000:
            probe.unlink()
            return


def test_a_file_of_the_same_size_and_time_is_not_taken_for_another(root: Path, copied: Callable[[Project], WorkFolder]) -> None:
    fill(root, {"a": "one"})
    project = Project(root)
    wait_until_settled(root / "a")
    project.index()
    (root / "b").write_text("two")
    os.utime(root / "b", (OLD, OLD))
    (root / "b").replace(root / "a")
    (file,) = copied(project).take_stock().files
    assert file.content.digest == f"sha256:{hashlib.sha256(b'two').hexdigest()}"


def test_a_workspace_is_restored_as_it_was(root: Path, tmp_path: Path, copied: Callable[[Project], WorkFolder]) -> None:
    fill(root, {"run.sh": "echo", "deep/er/model.bin": "model"})
    (root / "run.sh").chmod(0o755)
    (root / "nothing").mkdir()
    (root / "latest").symlink_to("deep/er")
    first = copied(Project(root))
    stock = first.take_stock()
    again = WorkFolder(tmp_path / "again")
    again.restore(stock, source(first, stock), lambda path: False)
    assert paths(again.root) == paths(first.root)
    assert again.take_stock() == stock
    assert (again.root / "latest" / "model.bin").read_text() == "model"


def test_changed_content_is_not_restored(root: Path, tmp_path: Path, copied: Callable[[Project], WorkFolder]) -> None:
    fill(root, {"model": "good"})
    first = copied(Project(root))
    stock = first.take_stock()
    (first.root / "model").write_text("evil")
    with pytest.raises(WorkspaceError, match="the stored file model of the workspace was changed"):
        WorkFolder(tmp_path / "again").restore(stock, source(first, stock), lambda path: False)
    with pytest.raises(OSError, match="changed meanwhile"):
        WorkFolder(tmp_path / "shared-again", tmp_path / "shared").restore(stock, source(first, stock), lambda path: True)


class TestSharedFiles:
    def test_are_one_file_for_all(self, root: Path, copied: Callable[[Project], WorkFolder]) -> None:
        fill(root, {"assets/map": "map", "assets/run": "run", "train.sh": ""})
        (root / "assets/run").chmod(0o755)
        project = Project(root, shared=("assets/",))
        first, second = copied(project), copied(project)
        found = [(work.root / "assets/map").stat() for work in (first, second)]
        assert os.path.samestat(*found)
        assert not os.path.samestat(found[0], (root / "assets/map").stat())
        assert [oct(stat.S_IMODE((first.root / name).stat().st_mode)) for name in ("assets/map", "assets/run")] == [
            "0o444",
            "0o555",
        ]
        assert first.take_stock() == second.take_stock()
        assert first.changed_shared_files() == []

    def test_stay_one_when_restored(self, root: Path, tmp_path: Path, copied: Callable[[Project], WorkFolder]) -> None:
        fill(root, {"assets/map": "map"})
        project = Project(root, shared=("assets/",))
        first = copied(project)
        stock = first.take_stock()
        again = WorkFolder(tmp_path / "again", tmp_path / "shared")
        again.restore(stock, source(first, stock), project.is_shared)
        assert os.path.samestat((again.root / "assets/map").stat(), (first.root / "assets/map").stat())

    def test_that_are_written_to_are_noticed_and_made_anew(self, root: Path, copied: Callable[[Project], WorkFolder]) -> None:
        fill(root, {"assets/map": "map"})
        project = Project(root, shared=("assets/",))
        first, second = copied(project), copied(project)
        (first.root / "assets/map").chmod(0o644)
        (first.root / "assets/map").write_text("pam")
        assert first.changed_shared_files() == ["assets/map"]
        assert second.changed_shared_files() == ["assets/map"]
        assert (copied(project).root / "assets/map").read_text() == "map"

    def test_may_be_replaced_by_a_script(self, root: Path, copied: Callable[[Project], WorkFolder]) -> None:
        fill(root, {"assets/map": "map"})
        work = copied(Project(root, shared=("assets/",)))
        (work.root / "assets/map").unlink()
        (work.root / "assets/map").write_text("my own")
        assert work.changed_shared_files() == []
        (file,) = work.take_stock().files
        assert file.content.size == 6

    def test_of_another_content_are_another_file(self, root: Path, copied: Callable[[Project], WorkFolder]) -> None:
        fill(root, {"assets/map": "map"})
        project = Project(root, shared=("assets/",))
        project.index()
        copied(project)
        (root / "assets/map").write_text("new map")
        assert (copied(project).root / "assets/map").read_text() == "new map"

    def test_that_nobody_links_to_are_dropped(self, root: Path, tmp_path: Path) -> None:
        fill(root, {"a": "first", "b": "second", "c": "third"})
        files = SharedFiles(tmp_path / "shared", Copier(), kept_seconds=-1.0)

        def link(name: str) -> None:
            files.link(root / name, content_of(root / name), 0o644, tmp_path / name)

        link("a")
        link("b")
        (tmp_path / "a").unlink()
        link("c")
        assert {path.read_text() for path in (tmp_path / "shared").iterdir()} == {"second", "third"}


def test_what_a_script_has_forbidden_is_read_all_the_same(root: Path, copied: Callable[[Project], WorkFolder]) -> None:
    work = copied(Project(root))
    fill(work.root, {"closed/secret": "x"})
    (work.root / "closed/secret").chmod(0)
    (work.root / "closed").chmod(0)
    (file,) = work.take_stock().files
    assert (file.path, oct(file.mode)) == ("closed/secret", "0o400")


def test_names_that_are_no_text_are_left_out(root: Path, copied: Callable[[Project], WorkFolder]) -> None:
    work = copied(Project(root))
    fill(work.root, {"fine": ""})
    Path(os.fsdecode(os.fsencode(work.root) + b"/\xff")).write_text("")
    stock = work.take_stock()
    assert [file.path for file in stock.files] == ["fine"]
    assert [why.partition(":")[2] for why in stock.left_out] == [" its name is not UTF-8"]


def test_a_place_is_free_of_links_and_not_a_folder(root: Path, tmp_path: Path, copied: Callable[[Project], WorkFolder]) -> None:
    fill(root, {"inner": "kept"})
    (root / "data.csv").symlink_to("inner")
    work = copied(Project(root))
    work.place("data.csv").write_text("new")
    assert (work.root / "inner").read_text() == "kept"
    (work.root / "config.yml").mkdir()
    with pytest.raises(WorkspaceError, match=r"config\.yml is a folder"):
        work.place("config.yml")
    assert work.size() == 7


NAMES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="/\0"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 200
)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=20), max_size=4), st.sampled_from([0o600, 0o644, 0o755]))
def test_any_files_come_back(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], mode: int) -> None:
    folder = tmp_path_factory.mktemp("any")
    work = WorkFolder(folder / "first")
    for name, content in files.items():
        (work.root / name).write_bytes(content)
        (work.root / name).chmod(mode)
    stock = work.take_stock()
    again = WorkFolder(folder / "second")
    again.restore(stock, source(work, stock), lambda path: False)
    assert {path.name: path.read_bytes() for path in again.root.iterdir()} == files
    assert again.take_stock() == stock
