"""What the workspaces of scripts cost: milliseconds to copy a project with large assets, and bytes stored for each training.

    python benchmarks/workspaces.py [--megabytes 50] [--trainings 50] [--folder FOLDER]

First the folders alone: filled from a project, taken stock of, removed, as for each job. Then trainings by a server of its own, whose
script writes a model of one kilobyte: how long they take, and by how much the store grows. `copied` and `shared` are the two ways to
treat assets; `none` is the same project without them, that is, what a training costs anyway.
"""

import argparse
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stage import conditions, serving

from modelwire import Client
from modelwire_runners.project import Project
from modelwire_runners.workspace import WorkFolder

ASSETS = 5
RUNNER = """
from pathlib import Path
from modelwire_runners import RunnerInfo, ShellModelRunner

runner = ShellModelRunner(
    train_command="printf '%-1024s' $MODELWIRE_JOB_ID > model.bin",
    predict_command="cp {{future_file}} {{output_file}}",
    info=RunnerInfo(id="assets"),
    project=Path(__file__).parent,
    shared={shared},
)
"""


def make_project(folder: Path, megabytes: float, shared: tuple[str, ...]) -> Path:
    (folder / "assets").mkdir(parents=True)
    for number in range(ASSETS if megabytes else 0):
        content = random.Random(number).randbytes(int(megabytes * 1_000_000 / ASSETS))
        (folder / "assets" / f"{number}.bin").write_bytes(content)
    (folder / "assets_runner.py").write_text(RUNNER.format(shared=repr(shared)))
    return folder


def milliseconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begin)


def fill_folders(project: Project, folder: Path, times: int) -> Iterator[tuple[float, float]]:
    """Milliseconds to fill a workspace and to take stock of it."""
    project.index()
    for number in range(times):
        workspace = WorkFolder(folder / str(number), folder / "shared")
        copied = milliseconds(lambda workspace=workspace: workspace.copy_project(project))  # type: ignore[misc]
        workspace.hand_over()
        yield copied, milliseconds(workspace.take_stock)
        shutil.rmtree(workspace.root)


def bytes_in(folder: Path) -> int:
    found = (Path(where, name).stat() for where, _, names in os.walk(folder) for name in names)
    return sum({(state.st_dev, state.st_ino): state.st_size for state in found}.values())


@contextmanager
def service(project: Path, data: Path) -> Iterator[Client]:
    with serving(f"{project / 'assets_runner.py'}:runner", data) as server, Client(server.target, wait_for_ready=True) as client:
        yield client


def trainings(client: Client, count: int) -> Iterator[float]:
    config = client.configs.create("benchmark", {})
    for _ in range(count):
        yield milliseconds(lambda: client.train(config, {"x": [1.0]}).wait(timeout=60))


def measure(name: str, folder: Path, megabytes: float, count: int) -> str:
    shared = ("assets/",) if name == "shared" else ()
    root = make_project(folder / name / "project", megabytes if name != "none" else 0, shared)
    filled = list(fill_folders(Project(root, shared=shared), folder / name / "folders", count))
    copies, stocks = [copy for copy, _ in filled], [stock for _, stock in filled]
    data = folder / name / "data"
    with service(root, data) as client:
        (first,) = trainings(client, 1)
        stored = bytes_in(data / "blobs")
        further = list(trainings(client, count - 1))
        growth = bytes_in(data / "blobs") - stored
    columns = [statistics.median(copies), max(copies), statistics.median(stocks), first, statistics.median(further)]
    figures = " | ".join(f"{column:.1f}" for column in columns)
    return f"| {name} | {figures} | {stored:,} | {growth / len(further):,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=50, help="how large the assets are")
    parser.add_argument("--trainings", type=int, default=50, help="how many trainings for each row")
    parser.add_argument("--folder", type=Path, help="where to work; the file system matters")
    arguments = parser.parse_args()
    print(f"{conditions()}, {arguments.megabytes:g} MB of assets in {ASSETS} files, {arguments.trainings} trainings a row\n")
    print(
        "| assets | copy ms | worst | stock ms | first training ms | further ms | bytes after the first | bytes for each further |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name in ("none", "copied", "shared"):
            print(measure(name, Path(folder), arguments.megabytes, arguments.trainings), flush=True)


if __name__ == "__main__":
    main()
