"""The command line of another project, as it is published, against a server of ours: it tries the REST contract from end to end.

It needs Python 3.13, and lives in an environment of its own; nothing of ours depends on it.
"""

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import EXAMPLES, ServerProcess

CLIENT = "chapkit"
PACKAGE = "chapkit>=2.4.1,<3"

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(600)]

RUNS = {
    "one of each": "-v --seed 42",
    "weeks and points, two of each": "-v --seed 42 --period-type weekly --geo-type point --rows 520 --predict-rows 300 -c 2 -t 2 -p 2",
    "many at once": "-v --seed 42 -c 4 -t 4 -p 4 --parallel 8 --delay 0",
}


@pytest.fixture(scope="module")
def python() -> str:
    """An interpreter that the client runs on."""
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob("3.13.*/bin/python"))
    for candidate in (sys.executable, "python3.13", *map(str, pyenv)):
        ask = [candidate, "-c", "import sys; sys.exit(sys.version_info[:2] != (3, 13))"]
        try:
            if subprocess.run(ask, capture_output=True, check=False).returncode == 0:
                return candidate
        except OSError:
            continue
    pytest.skip("there is no Python 3.13")


class PublishedClient:
    """The client in its environment, and the folder that it works in."""

    def __init__(self, python: str, folder: Path) -> None:
        self.folder = folder
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTHON", "VIRTUAL_"))
        }
        subprocess.run([python, "-m", "venv", folder / "venv"], check=True, env=self._environment)
        install = [folder / "venv" / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE]
        done = subprocess.run(install, capture_output=True, text=True, check=False, env=self._environment)
        assert done.returncode == 0, done.stderr
        # It shows all of its commands only in a project that depends on it.
        (folder / "pyproject.toml").write_text(f'[project]\nname = "caller"\nversion = "0"\ndependencies = ["{CLIENT}"]\n')

    def run(self, *arguments: str) -> str:
        """What a command prints. Fails if it does."""
        command = [str(self.folder / "venv" / "bin" / CLIENT), *arguments]
        environment = {**self._environment, "COLUMNS": "200", "NO_COLOR": "1"}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def client(python: str, tmp_path_factory: pytest.TempPathFactory) -> PublishedClient:
    return PublishedClient(python, tmp_path_factory.mktemp("client"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(f"{EXAMPLES / 'disease.py'}:runner", data_dir=tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS.keys())
def test_it_trains_and_predicts(client: PublishedClient, server: ServerProcess, options: str) -> None:
    said = client.run("test", "--url", f"http://127.0.0.1:{server.http_port}", *options.split())
    assert "Result: ALL TESTS PASSED" in said
    assert re.search(r"Validations failed: +0\b", said), said


def test_it_lists_and_downloads_artifacts(client: PublishedClient, server: ServerProcess) -> None:
    url = f"http://127.0.0.1:{server.http_port}"
    client.run("test", "--url", url, "--seed", "1")
    listed = client.run("artifact", "list", "--url", url, "--type", "ml_training_workspace")
    model = re.findall(r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b", listed)[0]
    client.run("artifact", "download", model, "--url", url, "--output", "model.zip")
    assert zipfile.ZipFile(client.folder / "model.zip").testzip() is None
    client.run("artifact", "download", model, "--url", url, "--extract", "--output", "model")
    assert list((client.folder / "model").iterdir())
