"""Looking after what a service keeps, from the command line."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from modelwire_server.artifacts import store as artifact_store
from modelwire_server.artifacts.blobs.files import FileBlobStore
from modelwire_server.artifacts.model import Artifact
from modelwire_server.clock import new_id, now
from modelwire_server.database.engine import Database, make_engine
from modelwire_server.upkeep.alone import alone

Modelwire = Callable[..., Any]

DATA = "modelwire-data"


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """A service whose only model is two months old."""

    async def main() -> Artifact:
        database = await Database.open(f"sqlite:///{data_dir / 'modelwire.db'}")
        blobs = FileBlobStore(data_dir / "blobs", max_bytes=1 << 20)
        await blobs.open()
        time = now() - timedelta(days=60)
        blob = await blobs.put(b"a model")
        made = Artifact(id=new_id(), type="ml_training", runner_id="trees", blob=blob, created_at=time, updated_at=time)
        await database.write(lambda tx: artifact_store.insert(tx, made))
        await blobs.close()
        await database.close()
        return made

    data_dir = tmp_path / DATA
    data_dir.mkdir()
    return asyncio.run(main())


def content_file(folder: Path, artifact: Artifact) -> Path:
    assert artifact.blob is not None
    digest = artifact.blob.digest.removeprefix("sha256:")
    return folder / "sha256" / digest[:2] / digest[2:]


def test_backup_and_restore(modelwire: Modelwire, artifact: Artifact, tmp_path: Path) -> None:
    text = modelwire("admin", "backup", "saved").stdout
    assert str(tmp_path / "saved") in text
    assert "1, 7 B, 1 of them by link" in text
    again = json.loads(modelwire("admin", "backup", "saved", "--json").stdout)
    assert (again["blobs"], again["new_blobs"], again["damaged"]) == (1, 0, [])

    text = modelwire("admin", "restore", "saved", "--data-dir", "new").stdout
    assert "the state of 20" in text
    assert content_file(tmp_path / "new" / "blobs", artifact).read_bytes() == b"a model"
    assert "all is there" in modelwire("admin", "verify", "--data-dir", "new").stdout
    assert "has data already" in modelwire("admin", "restore", "saved", "--data-dir", "new", exits=2).stderr


def test_content_that_is_lost_is_told_by_each_command(modelwire: Modelwire, artifact: Artifact, tmp_path: Path) -> None:
    assert artifact.blob is not None
    content_file(tmp_path / DATA / "blobs", artifact).unlink()
    verified = modelwire("admin", "verify", exits=1)
    assert f"is missing; needed by artifact {artifact.id}" in verified.stdout
    document = json.loads(modelwire("admin", "verify", "--json", exits=1).stdout)
    assert [finding["subject"] for finding in document["findings"]] == [artifact.blob.digest]
    assert {check["name"]: check["wrong"] for check in document["checks"]}["content"] == 1

    assert f"{artifact.blob.digest} is lost in the service already" in modelwire("admin", "backup", "saved", exits=1).stderr
    restored = modelwire("admin", "restore", "saved", "--data-dir", "new", "--json", exits=1)
    assert json.loads(restored.stdout)["damaged"] == [artifact.blob.digest]
    assert "lost in the backup" in restored.stderr


def test_gc_deletes_what_it_said(modelwire: Modelwire, artifact: Artifact, tmp_path: Path) -> None:
    assert "No retention is set" in modelwire("admin", "gc").stdout
    (tmp_path / "modelwire.toml").write_text('[[retention]]\nolder_than = "30d"\n')
    foreseen = modelwire("admin", "gc", "--dry-run").stdout
    assert artifact.id in foreseen
    assert "would go".upper() in foreseen
    document = json.loads(modelwire("admin", "gc", "--dry-run", "--json").stdout)
    assert [one["id"] for one in document["artifacts"]] == [artifact.id]
    file = content_file(tmp_path / DATA / "blobs", artifact)
    hours_ago = time.time() - 7200
    os.utime(file, (hours_ago, hours_ago))
    document = json.loads(modelwire("admin", "gc", "--json").stdout)
    assert ([one["id"] for one in document["artifacts"]], document["content"]["discarded"]) == ([artifact.id], 1)
    assert not file.exists()
    assert json.loads(modelwire("admin", "gc", "--json").stdout)["artifacts"] == []


def test_somebody_else_is_at_it(artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from modelwire.cli.main import app
    from modelwire_server.upkeep import verification

    monkeypatch.setattr(verification, "PATIENCE_SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)

    async def main() -> Any:
        database = Database(make_engine(f"sqlite:///{tmp_path / DATA / 'modelwire.db'}", 1), readers=1)
        async with alone(database):
            result = await asyncio.to_thread(CliRunner().invoke, app, ["admin", "verify"])
        await database.close()
        return result

    result = asyncio.run(main())
    assert result.exit_code == 2
    assert "try again when it is done" in result.stderr


def test_migrate(modelwire: Modelwire, tmp_path: Path) -> None:
    (tmp_path / DATA).mkdir()
    engine = make_engine(f"sqlite:///{tmp_path / DATA / 'modelwire.db'}", 1)
    database = Database(engine, readers=1)
    asyncio.run(database.migrate("0001"))
    assert "run modelwire admin migrate" in modelwire("admin", "verify", exits=2).stderr
    done = json.loads(modelwire("admin", "migrate", "--json").stdout)
    assert done["from"] == "0001"
    assert done["to"] > "0001"
    assert "already, the newest" in modelwire("admin", "migrate").stdout
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    asyncio.run(database.close())
    for command in ("migrate", "verify"):
        assert "newer than this program" in modelwire("admin", command, exits=2).stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["verify"], "there is no database"),
        (["gc", "--data-dir", "nowhere"], "nowhere/modelwire.db; say where with --data-dir"),
        (["backup", "saved", "--database-url", "nonsense"], "neither sqlite:///FILE nor postgresql:"),
        (["backup", "saved", "--config", "nothing.toml"], "settings file nothing.toml cannot be read"),
        (["restore", "nothing"], "there is no whole backup in nothing"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(modelwire: Modelwire, arguments: list[str], complaint: str) -> None:
    done = modelwire("admin", *arguments, exits=2)
    assert done.stdout == ""
    assert complaint in done.stderr


def test_a_target_that_cannot_be_written(modelwire: Modelwire, artifact: Artifact) -> None:
    assert "/proc/nothing" in modelwire("admin", "backup", "/proc/nothing", exits=2).stderr


def test_a_database_that_does_not_answer(modelwire: Modelwire) -> None:
    done = modelwire("admin", "verify", "--database-url", "postgresql://nobody@127.0.0.1:9/none", exits=4)
    assert "the database does not answer" in done.stderr
