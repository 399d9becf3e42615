"""Fifty trainings with large assets are stored as one set of assets and fifty small models."""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import RUNNERS, ServerProcess
from workspaces import files_of

from modelwire import Client, JobFailed, Model

MB = 1_000_000
TRAININGS = 50
MODEL_BYTES = 1024
DATA = {"x": [1.0]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of a project with 50 MB of assets, that no compression makes smaller."""
    project = tmp_path_factory.mktemp("projects") / "asset_project"
    shutil.copytree(RUNNERS / "asset_project", project, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "assets").mkdir()
    for name in ("first", "second", "third", "fourth", "fifth"):
        (project / "assets" / f"{name}.bin").write_bytes(random.Random(name).randbytes(10 * MB))
    targets = [f"{project / 'assets.py'}:{name}" for name in ("copied", "shared")]
    with ServerProcess(*targets, data_dir=tmp_path_factory.mktemp("data")) as server:
        yield server


def bytes_in(folder: Path) -> int:
    """Bytes on the disk; what has several names counts once."""
    found = (Path(where, name).stat() for where, _, names in os.walk(folder) for name in names)
    return sum({(state.st_dev, state.st_ino): state.st_size for state in found}.values())


def train(client: Client, runner: str, behaviour: str = "learn") -> Model:
    return client.train(client.configs.create(runner, {"behaviour": behaviour}, runner=runner), DATA).wait(timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["copied", "shared"])
def test_storage_grows_by_new_files_only(client: Client, server: ServerProcess, runner: str) -> None:
    before = bytes_in(server.data_dir / "blobs")
    train(client, runner)
    after_one = bytes_in(server.data_dir / "blobs")
    models = [train(client, runner) for _ in range(TRAININGS - 1)]
    after_all = bytes_in(server.data_dir / "blobs")

    new = sum(MODEL_BYTES + len(files_of(client, model.id)["config.yml"]) + (model.content_size or 0) for model in models)
    each = (after_all - after_one) / len(models)
    print(f"\n{runner}: {before:,} bytes at first, {after_one:,} after one training, {after_all:,} after {TRAININGS}")
    print(f"{runner}: {each:,.0f} bytes for each further training with {50 * MB:,} bytes of assets")
    assert after_all - after_one <= new


@pytest.mark.slow
def test_who_changes_what_is_shared_fails_alone(client: Client) -> None:
    with pytest.raises(JobFailed, match=r"changed shared files: assets/first\.bin"):
        train(client, "shared", "spoil")
    files = files_of(client, train(client, "shared").id)
    for name in ("first", "fifth"):
        assert files[f"assets/{name}.bin"] == random.Random(name).randbytes(10 * MB)
    assert len(files["model.bin"]) == MODEL_BYTES


@pytest.mark.slow
def test_who_changes_a_copy_changes_it_for_nobody_else(client: Client) -> None:
    spoilt = files_of(client, train(client, "copied", "spoil").id)["assets/first.bin"]
    whole = files_of(client, train(client, "copied").id)["assets/first.bin"]
    assert spoilt == whole + b"spoilt\n"
