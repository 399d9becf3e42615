"""The example of two versions: the better one is promoted, a worse one is refused, and going back is one call."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import EXAMPLES, ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(f"{EXAMPLES / 'diabetes.py'}:runner", data_dir=tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("run", ["first", "again"])
def test_it_promotes_refuses_and_goes_back(server: ServerProcess, tmp_path: Path, run: str) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "promotion.py")],
        cwd=tmp_path,
        env={**os.environ, "MODELWIRE_TARGET": server.target},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second, refused, back, *events = done.stdout.splitlines()
    errors = [float(re.fullmatch(r".*: ([\d.]+)", line)[1]) for line in (first, second, back)]  # type: ignore[index]
    assert errors[1] < 0.9 * errors[0]
    assert errors[2] == errors[0]
    assert refused.startswith("diabetes/3 is refused: rmse_of_unseen is ")
    assert back.startswith("back to diabetes/1")
    assert [line.split() for line in events] == [
        ["registered", "diabetes/1"],
        ["promoted", "diabetes/1", "production"],
        ["updated", "diabetes"],
        ["registered", "diabetes/2"],
        ["promoted", "diabetes/2", "production"],
        ["registered", "diabetes/3"],
        ["rolled_back", "diabetes/1", "production"],
    ]
