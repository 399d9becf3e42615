"""What the tests of scripts have in common: the scripted project, and a look into workspaces."""

import io
import zipfile
from pathlib import Path

from pyarrow import Table, csv
from serving import EXAMPLES, RUNNERS

from modelwire import Client, Job

SCRIPTED = RUNNERS / "shell_project"
DATA = {"place": ["a", "b", "c"], "code": ["001", "002", "010"], "disease_cases": [1.0, 2.0, None]}
FUTURE = {"place": ["a", "b"], "code": ["001", "010"]}


def submit(client: Client, *, runner: str = "scripted", geo: dict[str, object] | None = None, **config: object) -> Job:
    """A training by the scripted project."""
    return client.train(client.configs.create("test", config, runner=runner), DATA, geo=geo)


def files_of(client: Client, artifact_id: str) -> dict[str, bytes]:
    """What is in the zip of a workspace, by path."""
    with zipfile.ZipFile(io.BytesIO(client.artifacts.download(artifact_id))) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def texts_of(client: Client, artifact_id: str) -> dict[str, str]:
    return {name: content.decode(errors="replace") for name, content in files_of(client, artifact_id).items()}


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and mode of all files below a folder."""
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}


def monthly_cases(part: str) -> Table:
    """The data of the examples, `seen` or `unseen`."""
    return csv.read_csv(EXAMPLES / "monthly_cases" / f"{part}.csv")
