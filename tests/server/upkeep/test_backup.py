"""Backups of storage that is in use, and what becomes of them."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from modelwire_server.database.migrations import known_revisions, revision_of
from modelwire_server.upkeep.alone import Occupied, alone
from modelwire_server.upkeep.backup import BackedUp, back_up
from modelwire_server.upkeep.copies import BackupFolder, Manifest, read_manifest
from modelwire_server.upkeep.refusal import Refused
from modelwire_server.upkeep.restoring import restore
from modelwire_server.upkeep.verification import verify

Storage = Any
WithStorage = Callable[[Callable[[Storage], Awaitable[None]]], None]
Elsewhere = Callable[[str], AbstractAsyncContextManager[Any]]

only_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
only_to_sqlite = pytest.mark.parametrize("elsewhere", ["sqlite"], indirect=True)


async def backed_up(storage: Storage, target: Path, **options: Any) -> BackedUp:
    return await back_up(storage.database, storage.blobs, target, version="1.2.3", **options)


def without_leases(rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    return {**rows, "jobs": [{**row, "lease_until": None} for row in rows["jobs"]]}


def test_everything_comes_back_whatever_the_database(with_storage: WithStorage, elsewhere: Elsewhere, tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        await storage.busy_year()
        made = await backed_up(storage, tmp_path / "backup")
        rows = await storage.rows()
        assert all(rows.values())
        assert any(row["lease_until"] for row in rows["jobs"])
        async with elsewhere("new") as new:
            restored = await restore(tmp_path / "backup", new.database, new.blobs)
            assert await new.rows() == without_leases(rows)
            assert await new.digests() == await storage.digests()
            assert (restored.blobs, restored.damaged) == (made.manifest.blobs, [])
            assert (await verify(new.database, new.blobs)).is_good

    with_storage(use)


def test_what_happens_after_the_moment_of_a_backup_is_not_in_it(with_storage: WithStorage, tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        await storage.artifact(content=b"before")
        loop, later = asyncio.get_running_loop(), []

        def report(what: str, done: int, total: int) -> None:
            if (what, done) == ("tables", 1):
                later.append(asyncio.run_coroutine_threadsafe(storage.artifact(content=b"later"), loop).result(10))

        made = await backed_up(storage, tmp_path / "backup", report=report)
        assert len(later) == 1
        assert (made.manifest.rows["artifacts"].rows, made.manifest.blobs) == (1, 1)

    with_storage(use)


def test_nobody_deletes_meanwhile(with_storage: WithStorage, tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        loop, begun, tried = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        def report(what: str, done: int, total: int) -> None:
            if what == "tables" and done == 0:
                loop.call_soon_threadsafe(begun.set)
                tried.wait(10)

        backup = asyncio.create_task(backed_up(storage, tmp_path / "backup", report=report))
        await begun.wait()
        with pytest.raises(Occupied, match="try again"):
            async with alone(storage.database):
                raise AssertionError
        tried.set()
        await backup

    with_storage(use)


@only_sqlite
def test_the_next_backup_copies_only_what_is_new(with_storage: WithStorage, tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        first = await storage.artifact(content=b"first")
        kept = await storage.artifact(content=b"kept")
        target = tmp_path / "backup"
        assert (await backed_up(storage, target)).copied.new_blobs == 2
        await storage.tree.delete(first.id)
        await storage.artifact(content=b"second")
        made = await backed_up(storage, target)
        assert (made.copied.new_blobs, made.copied.new_bytes) == (1, 6)
        files = {path.read_bytes() for path in target.glob("blobs/sha256/*/*")}
        assert files == {b"kept", b"second"}
        assert len(list(target.glob("rows-*"))) == 1
        assert BackupFolder(target, "").blob_path(kept.blob.digest).samefile(storage.path(kept.blob.digest))

    with_storage(use)


@only_sqlite
def test_files_of_their_own_if_wanted(with_storage: WithStorage, tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        await storage.artifact(content=b"content")
        made = await backed_up(storage, tmp_path / "backup", may_link=False)
        assert (made.copied.new_blobs, made.copied.linked) == (1, 0)
        assert [path.stat().st_nlink for path in (tmp_path / "backup").glob("blobs/sha256/*/*")] == [1]

    with_storage(use)


@only_sqlite
@only_to_sqlite
@pytest.mark.parametrize("at", ["tables", "content"])
def test_a_backup_that_was_interrupted(with_storage: WithStorage, elsewhere: Elsewhere, tmp_path: Path, at: str) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if what == at and done == total:
            raise InterruptedError

    async def use(storage: Storage) -> None:
        target = tmp_path / "backup"
        await storage.artifact(content=b"first")
        with pytest.raises(InterruptedError):
            await backed_up(storage, target, report=interrupt)
        async with elsewhere("new") as new:
            with pytest.raises(Refused, match="there is no whole backup"):
                await restore(target, new.database, new.blobs)
        whole = await backed_up(storage, target)
        await storage.artifact(content=b"second")
        with pytest.raises(InterruptedError):
            await backed_up(storage, target, report=interrupt)
        async with elsewhere("new") as new:
            assert (await restore(target, new.database, new.blobs)).manifest == whole.manifest
            assert len(await new.ids()) == 1
        assert (await backed_up(storage, target)).manifest.blobs == 2
        assert len(list(target.glob("rows-*"))) == 1

    with_storage(use)


@only_sqlite
@only_to_sqlite
def test_what_is_lost_is_told_and_the_rest_is_saved(with_storage: WithStorage, elsewhere: Elsewhere, tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        good, damaged, missing, rotten = [await storage.artifact(content=b"content %d" % n) for n in range(4)]
        storage.damage(damaged.blob.digest)
        storage.path(missing.blob.digest).unlink()
        made = await backed_up(storage, tmp_path / "backup", may_link=False)
        lost = {damaged.blob.digest, missing.blob.digest}
        assert (set(made.manifest.damaged), made.manifest.blobs) == (lost, 2)

        path = BackupFolder(tmp_path / "backup", "").blob_path(rotten.blob.digest)
        path.write_bytes(b"rotten")
        async with elsewhere("new") as new:
            restored = await restore(tmp_path / "backup", new.database, new.blobs)
            assert set(restored.damaged) == {*lost, rotten.blob.digest}
            assert await new.digests() == {good.blob.digest}
            assert len(await new.ids()) == 4
            assert {f.subject for c in (await verify(new.database, new.blobs)).checks for f in c.findings} == set(restored.damaged)

    with_storage(use)


@only_sqlite
def test_a_folder_with_something_else_in_it(with_storage: WithStorage, tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        (tmp_path / "documents").mkdir()
        (tmp_path / "documents" / "thesis.txt").touch()
        with pytest.raises(Refused, match=r"holds something else, such as thesis\.txt"):
            await backed_up(storage, tmp_path / "documents")

    with_storage(use)


@only_sqlite
def test_only_what_is_empty_is_filled(with_storage: WithStorage, elsewhere: Elsewhere, tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        await storage.artifact(content=b"content")
        await backed_up(storage, tmp_path / "backup")
        async with elsewhere("content") as new:
            await new.blobs.put(b"something else")
            with pytest.raises(Refused, match="store of content has something else in it"):
                await restore(tmp_path / "backup", new.database, new.blobs)
        async with elsewhere("rows") as new:
            await new.database.migrate()
            await new.artifact()
            with pytest.raises(Refused, match="database has data already"):
                await restore(tmp_path / "backup", new.database, new.blobs)

    with_storage(use)


@only_sqlite
def test_a_restore_that_was_interrupted_can_be_begun_anew(with_storage: WithStorage, elsewhere: Elsewhere, tmp_path: Path) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if what == "tables" and done == 5:
            raise InterruptedError

    async def use(storage: Storage) -> None:
        await storage.busy_year()
        await backed_up(storage, tmp_path / "backup")
        async with elsewhere("new") as new:
            with pytest.raises(InterruptedError):
                await restore(tmp_path / "backup", new.database, new.blobs, interrupt)
            assert not any((await new.rows()).values())
            await restore(tmp_path / "backup", new.database, new.blobs)
            assert await new.rows() == without_leases(await storage.rows())

    with_storage(use)


@only_sqlite
def test_a_backup_of_an_older_version_is_brought_up_to_date(
    with_storage: WithStorage, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    newer = {"failures", "priority", "not_before"}

    async def use(storage: Storage) -> None:
        await storage.busy_year(named=False)
        target = tmp_path / "backup"
        manifest = (await backed_up(storage, target)).manifest
        folder = BackupFolder(target, manifest.rows_folder)
        jobs = [{name: value for name, value in row.items() if name not in newer} for row in folder.read_rows("jobs")]
        rows = {**manifest.rows, "jobs": folder.write_rows("jobs", jobs)}
        rows = {name: part for name, part in rows.items() if not name.startswith("model")}
        (target / "backup.json").write_text(manifest.model_copy(update={"revision": "0001", "rows": rows}).model_dump_json())
        async with elsewhere("new") as new:
            await restore(target, new.database, new.blobs)
            assert await new.database.read(revision_of) == known_revisions()[0]
            assert await new.rows() == without_leases(await storage.rows())
        async with elsewhere("newest") as new:
            await new.database.migrate()
            with pytest.raises(Refused, match=r"database has tables of version .* the backup 0001"):
                await restore(target, new.database, new.blobs)

    with_storage(use)


@only_sqlite
@only_to_sqlite
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"revision": "9999"}, r"made by a newer version, modelwire 1\.2\.3"),
        ({"format": 2}, r"was made by modelwire 1\.2\.3; use that version"),
        ({"rows": {"configs": {"rows": 0, "digest": "sha256:0"}}}, r"damaged: .*configs\.jsonl\.gz is not what was written"),
        ({"rows": {"lost": {"rows": 0, "digest": "sha256:0"}}}, r"damaged: .*lost\.jsonl\.gz is not what was written"),
        ({"blobs": "many"}, r"damaged: backup\.json is not what was written"),
    ],
)
def test_backups_that_cannot_be_restored(
    with_storage: WithStorage, elsewhere: Elsewhere, tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    async def use(storage: Storage) -> None:
        await backed_up(storage, tmp_path / "backup")
        path = tmp_path / "backup" / "backup.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
        async with elsewhere("new") as new:
            with pytest.raises(Refused, match=sentence):
                await restore(tmp_path / "backup", new.database, new.blobs)

    with_storage(use)


def test_a_manifest_reads_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "backup.json").write_text("no JSON")
    with pytest.raises(Refused, match="is damaged"):
        read_manifest(tmp_path)
    manifest = Manifest(
        made_at="2026-01-01T00:00:00Z", version="1", revision="0001", rows_folder="rows-1", rows={}, blobs=0, bytes=0
    )
    (tmp_path / "backup.json").write_text(manifest.model_dump_json())
    assert read_manifest(tmp_path) == manifest
