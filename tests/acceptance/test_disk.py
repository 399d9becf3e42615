"""Disks that are full or cannot be written: said clearly, nothing half-written, and all is well once there is space."""

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path

import pytest
from serving import RUNNERS, ServerProcess

from modelwire import Client, Job, JobFailed, ResourceExhausted
from modelwire.events import Event, ProgressEvent

MIB = 1 << 20
DISK_MIB = 32
HUNGRY = f"{RUNNERS / 'hungry.py'}:runner"
DATA = {"x": [1.0]}


def on_mount(folder: Path, options: str) -> list[str]:
    """A command that runs another one where a tmpfs is mounted on the folder, for it alone."""
    mount = f'mount -t tmpfs -o {options} tmpfs {shlex.quote(str(folder))} && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]


@pytest.fixture(autouse=True, scope="module")
def _may_mount(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where nobody may mount; where CI runs, one must."""
    trial = [*on_mount(tmp_path_factory.mktemp("trial"), "size=1m"), "true"]
    if subprocess.run(trial, check=False, capture_output=True).returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("namespaces for mounts are not allowed here")


def fill(file: RawIOBase) -> None:
    """Writes until there is no space."""
    page = bytes(4096)
    with contextlib.suppress(OSError):
        while file.write(page):
            pass


class Disk:
    """The small disk of a server, seen through the server's eyes."""

    def __init__(self, server: ServerProcess) -> None:
        self.folder = Path(f"/proc/{server.process.pid}/root{server.data_dir}")
        self._ballast = self.folder / "ballast"

    @property
    def free(self) -> int:
        state = os.statvfs(self.folder)
        return state.f_bavail * state.f_frsize

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """No byte is free until the block ends."""
        with self._ballast.open("wb", buffering=0) as ballast:
            fill(ballast)
        try:
            yield
        finally:
            self._ballast.unlink()

    @property
    def content(self) -> set[str]:
        """The names of all stored content."""
        return {path.name for path in (self.folder / "blobs/sha256").glob("??/*")}

    @property
    def unfinished(self) -> list[Path]:
        return [path for path in (self.folder / "blobs/scratch").rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    folder = tmp_path / "data"
    with ServerProcess(HUNGRY, data_dir=folder, inside=on_mount(folder, f"size={DISK_MIB}m")) as server:
        yield server


@pytest.fixture
def disk(server: ServerProcess) -> Disk:
    return Disk(server)


def submit(client: Client, **config: object) -> Job:
    return client.train(client.configs.create("test", config), DATA)


def require_health(client: Client, disk: Disk) -> None:
    """A training succeeds, its model can be read, and nothing unfinished is left."""
    model = submit(client, size=1000).wait(timeout=30)
    assert model.predict(DATA).to_pydict() == DATA
    assert disk.unfinished == []


def test_an_upload_that_does_not_fit(client: Client, disk: Disk) -> None:
    before = disk.content
    too_much = os.urandom(2 * DISK_MIB * MIB)
    with pytest.raises(ResourceExhausted) as refused:
        client.artifacts.upload(too_much)
    assert refused.value.reason == "STORAGE_FULL"
    assert (disk.content, disk.unfinished) == (before, [])

    fits = os.urandom(DISK_MIB * MIB // 2)
    assert client.artifacts.download(client.artifacts.upload(fits).id) == fits
    require_health(client, disk)


def test_a_frame_that_does_not_fit_makes_no_job(client: Client, disk: Disk) -> None:
    config = client.configs.create("test")
    before = disk.content
    with pytest.raises(ResourceExhausted) as refused:
        client.train(config, {"x": [os.urandom(MIB).hex() for _ in range(DISK_MIB)]})
    assert refused.value.reason == "STORAGE_FULL"
    assert (disk.content, disk.unfinished) == (before, [])
    assert list(client.jobs.list()) == []
    require_health(client, disk)


def test_a_model_that_does_not_fit_fails_its_job(client: Client, disk: Disk) -> None:
    job = submit(client, size=2 * DISK_MIB * MIB)
    accepted = disk.content
    with pytest.raises(JobFailed) as failed:
        job.wait(timeout=120)
    assert failed.value.reason == "STORAGE_FULL"
    assert "space" in str(failed.value)
    assert disk.content == accepted
    assert list(client.artifacts.list()) == []
    require_health(client, disk)


def test_a_full_disk_takes_no_job_and_still_answers(client: Client, disk: Disk) -> None:
    config = client.configs.create("test")
    model = submit(client).wait(timeout=30)
    with disk.full():
        for refused in (
            lambda: client.train(config, DATA),
            lambda: client.configs.create("more"),
            lambda: client.artifacts.upload(b"x"),
        ):
            with pytest.raises(ResourceExhausted) as error:
                refused()
            assert error.value.reason == "STORAGE_FULL"
        assert len(list(client.jobs.list())) == 1
        assert model.predict(DATA).to_pydict() == DATA
    require_health(client, disk)


def test_a_job_waits_for_space_to_tell_of_its_end(client: Client, server: ServerProcess, disk: Disk, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    job = submit(client, gate=str(gate))
    events = job.watch()
    seen = [event.sequence for event in until_progress(events)]
    with disk.full():
        gate.write_text("")
        wait_for_line(server, "the storage does not take what is new about a job")
        assert client.jobs.get(job.id).status == "running"
    seen += [event.sequence for event in events]
    assert seen == list(range(1, len(seen) + 1))
    job.refresh()
    assert (job.status, job.reason) == ("failed", "STORAGE_FULL")
    require_health(client, disk)


def until_progress(events: Iterator[Event]) -> Iterator[Event]:
    for event in events:
        yield event
        if isinstance(event, ProgressEvent):
            return
    raise AssertionError("the job ended early")


def wait_for_line(server: ServerProcess, text: str) -> None:
    """Returns when the server has logged the text."""
    follow = ["tail", "--lines=+1", "--follow", str(server.data_dir / "server.log")]
    with subprocess.Popen(follow, stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        assert any(text in line for line in tail.stdout)
        tail.kill()


@pytest.mark.parametrize("options", ["ro,size=1m", "size=4k,nr_inodes=1"])
def test_what_cannot_be_written_is_no_data_folder(tmp_path: Path, options: str) -> None:
    command = [str(Path(sys.executable).parent / "modelwire"), "serve", HUNGRY, "--grpc-port=0", "--http-port=0"]
    ended = subprocess.run(
        [*on_mount(tmp_path, options), *command, f"--data-dir={tmp_path}"], check=False, capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 2
    reason = "Read-only file system" if "ro" in options else "No space left on device"
    assert f"the data folder {tmp_path} cannot be written: {reason}; give --data-dir a folder that can" in " ".join(
        ended.stderr.split()
    )
    assert "Traceback" not in ended.stderr
