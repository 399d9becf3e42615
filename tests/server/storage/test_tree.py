import contextlib
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelwire_server.artifacts.blobs.interface import Usage
from modelwire_server.artifacts.tree import NewArtifact
from modelwire_server.errors import (
    AlreadyExists,
    ArtifactCycle,
    ArtifactNotFound,
    DigestMismatch,
    NoContent,
    ParentNotFound,
    TreeTooDeep,
)

Run = Callable[[Any], None]
UNKNOWN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


async def received(storage: Any, new: NewArtifact, content: bytes) -> Any:
    async with storage.tree.receiving(new) as writer:
        await writer.write(content)
        return await storage.tree.received(new, writer)


async def read(storage: Any, digest: str, offset: int = 0) -> bytes:
    return b"".join([chunk async for chunk in storage.blobs.read(digest, offset=offset, chunk_size=3)])


def test_content_comes_back_and_equal_content_is_stored_once(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        first = await received(storage, NewArtifact(content_type="text/plain"), b"the content")
        second = await received(storage, NewArtifact(), b"the content")
        assert first.blob == second.blob
        assert await read(storage, first.blob.digest) == b"the content"
        assert await read(storage, first.blob.digest, offset=4) == b"content"
        assert await storage.blobs.usage() == Usage(1, len(b"the content"))
        assert (first.type, first.content_type, second.content_type) == ("generic", "text/plain", "application/octet-stream")

    with_storage(use)


def test_a_digest_that_does_not_fit_stores_nothing(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        with pytest.raises(DigestMismatch):
            await received(storage, NewArtifact(digest="sha256:" + "0" * 64), b"x")
        assert await storage.tree.count() == 0
        assert not any(storage.blobs.scratch.iterdir())

    with_storage(use)


def test_the_tree_has_levels_and_labels(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        root = await storage.tree.create(NewArtifact(type="ml_training"), {"a": 1})
        child = await storage.tree.create(NewArtifact(parent_id=root.id), None)
        leaf = await storage.tree.create(NewArtifact(parent_id=child.id), [1, 2])
        node = await storage.tree.subtree(root.id)
        assert [node.level_label, node.children[0].level_label, node.children[0].children[0].level_label] == [
            "ml_training",
            "ml_prediction",
            "level_2",
        ]
        assert node.children[0].children[0].artifact == leaf
        assert (await storage.tree.expand(root.id)).children == ()
        assert await storage.tree.inline_content(root) == {"a": 1}
        assert await storage.tree.inline_content(child) is None
        assert (await storage.tree.content(leaf.id))[1] == leaf.blob
        with pytest.raises(NoContent):
            await storage.tree.content(child.id)

    with_storage(use)


def test_children_of_a_deleted_artifact_become_roots_and_keep_their_level(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        root = await storage.tree.create(NewArtifact(), 1)
        child = await storage.tree.create(NewArtifact(parent_id=root.id), 1)
        leaf = await storage.tree.create(NewArtifact(parent_id=child.id), 1)
        await storage.tree.delete(root.id)
        assert storage.deleted == [root.id]
        orphan = await storage.tree.subtree(child.id)
        assert (orphan.artifact.parent_id, orphan.artifact.level) == (None, 1)
        assert orphan.children[0].artifact == leaf
        with pytest.raises(ArtifactNotFound):
            await storage.tree.get(root.id)
        with pytest.raises(ArtifactNotFound):
            await storage.tree.subtree(root.id)

    with_storage(use)


def test_places_that_cannot_be(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        root = await storage.tree.create(NewArtifact(), 1)
        child = await storage.tree.create(NewArtifact(parent_id=root.id), 1)
        with pytest.raises(ArtifactCycle, match="its own parent"):
            await storage.tree.update(root.id, parent_id=root.id)
        with pytest.raises(ArtifactCycle, match="descendants"):
            await storage.tree.update(root.id, parent_id=child.id)
        with pytest.raises(ParentNotFound):
            await storage.tree.update(root.id, parent_id=UNKNOWN)
        with pytest.raises(ParentNotFound):
            await storage.tree.create(NewArtifact(parent_id=UNKNOWN), 1)
        with pytest.raises(AlreadyExists):
            await storage.tree.create(NewArtifact(id=root.id), 1)
        deepest = child.id
        for _ in range(62):
            deepest = (await storage.tree.create(NewArtifact(parent_id=deepest), None)).id
        with pytest.raises(TreeTooDeep):
            await storage.tree.create(NewArtifact(parent_id=deepest), None)

    with_storage(use)


def test_update_changes_only_what_is_given(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        one = await storage.tree.create(NewArtifact(tags=("a",), metadata={"k": 1}), 1)
        assert (await storage.tree.update(one.id, tags=["b"])).metadata == {"k": 1}
        changed = await storage.tree.update(one.id, metadata={})
        assert (changed.tags, changed.metadata) == (("b",), {})
        listed = await storage.tree.list(tags=["b"])
        assert [artifact.id for artifact in listed.items] == [one.id]

    with_storage(use)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_random_moves_and_deletes_keep_the_tree_consistent(with_storage: Run, seed: int) -> None:
    chance = random.Random(seed)

    async def use(storage: Any) -> None:
        ids: list[str] = []
        for _ in range(12):
            parent = chance.choice([*ids, ""])
            ids.append((await storage.tree.create(NewArtifact(parent_id=parent), None)).id)
        for _ in range(20):
            with contextlib.suppress(ArtifactCycle):
                await storage.tree.update(chance.choice(ids), parent_id=chance.choice([*ids, ""]))
        artifacts = {one: await storage.tree.get(one) for one in ids}
        for one in artifacts.values():
            parent_level = artifacts[one.parent_id].level if one.parent_id else -1
            assert one.level == parent_level + 1
            children = {node.artifact.id for node in (await storage.tree.subtree(one.id)).children}
            assert children == {other.id for other in artifacts.values() if other.parent_id == one.id}
        for one in ids:
            await storage.tree.delete(one)

    with_storage(use)
