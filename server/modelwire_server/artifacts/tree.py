"""What can be done with artifacts."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from modelwire_runners import ArtifactHierarchy

from ..clock import now
from ..configs import store as configs
from ..configs.model import Config
from ..database.engine import Database, Transaction
from ..database.once import once
from ..errors import (
    AlreadyExists,
    ArtifactCycle,
    ArtifactNotFound,
    DigestMismatch,
    FieldViolation,
    ModelInUse,
    NoContent,
    NotLinked,
    ParentNotFound,
    TreeTooDeep,
)
from ..paging import Page, PageRequest
from ..rules import check_tags, chosen_id, require
from . import store
from .blobs.interface import BlobStore, BlobWriter
from .model import ARROW_STREAM, DATASET_TYPE, GENERIC_TYPE, JSON, Artifact, ArtifactNode, Blob

DEEPEST = 64
# JSON content up to this size is read into an answer; anything else is to be downloaded.
LARGEST_INLINE = 1 << 20


# The children of each node, by the parent's id.
Children = dict[str | None, list[Artifact]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewArtifact:
    """An artifact that a caller wants to store. `digest` is what the content must have, if given."""

    id: str = ""
    type: str = ""
    content_type: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    parent_id: str = ""
    tags: tuple[str, ...] = ()
    digest: str = ""
    request_id: str = ""


class ArtifactTree:
    """Reads and changes the tree. `hierarchy` names the levels for a runner's id; `on_deleted` is told what is gone."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        hierarchy: Callable[[str], ArtifactHierarchy],
        on_deleted: Callable[[Sequence[str]], None] = lambda ids: None,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._hierarchy = hierarchy
        self._on_deleted = on_deleted

    async def create(self, new: NewArtifact, content: Any) -> Artifact:
        """Stores an artifact with small JSON content. Raises InvalidId, InvalidField, AlreadyExists, ParentNotFound, TreeTooDeep."""
        self.check_new(new)
        blob = None if content is None else await self._blobs.put(json.dumps(content, sort_keys=True).encode())
        return await self.store(new, blob, new.content_type or (JSON if blob else ""))

    @asynccontextmanager
    async def receiving(self, new: NewArtifact) -> AsyncIterator[BlobWriter]:
        """A writer for the content of a new artifact; finish with received()."""
        self.check_new(new)
        async with self._blobs.writer() as writer:
            yield writer

    async def received(self, new: NewArtifact, writer: BlobWriter) -> Artifact:
        """Makes the received content durable and stores its artifact. Raises DigestMismatch, and as create() does."""
        blob = await writer.commit()
        if new.digest and new.digest.lower() != blob.digest:
            message = f"the content has the digest {blob.digest}, not {new.digest}"
            raise DigestMismatch(message, violations=[FieldViolation("digest", message)], expected=new.digest, actual=blob.digest)
        return await self.store(new, blob, new.content_type or "application/octet-stream")

    async def store(self, new: NewArtifact, blob: Blob | None, content_type: str) -> Artifact:
        """Inserts the row of an artifact whose content is stored."""
        time = now()
        artifact = Artifact(
            id=chosen_id(new.id),
            type=new.type or (DATASET_TYPE if content_type == ARROW_STREAM else GENERIC_TYPE),
            metadata=new.metadata,
            content_type=content_type,
            blob=blob,
            parent_id=new.parent_id or None,
            tags=new.tags,
            created_at=time,
            updated_at=time,
        )
        document = [new.id, artifact.type, content_type, new.metadata, new.parent_id, new.tags, blob and blob.digest]

        def insert(tx: Transaction) -> Artifact:
            answer = once(tx, "artifact.create", new.request_id, document, lambda: self.insert_made(tx, artifact))
            return self._get(tx, answer["id"])

        return await self._database.write(insert)

    def check_new(self, new: NewArtifact) -> None:
        """Raises InvalidId, InvalidField before any content is taken."""
        chosen_id(new.id)
        require(check_tags(new.tags))

    def insert_made(self, tx: Transaction, artifact: Artifact) -> dict[str, Any]:
        """Inserts an artifact at its place. Raises AlreadyExists, ParentNotFound, TreeTooDeep."""
        level = 0
        if artifact.parent_id is not None:
            level = self._parent(tx, artifact.parent_id).level + 1
            check_depth(level)
        if not store.insert(tx, artifact if artifact.level == level else replace(artifact, level=level)):
            raise _taken(artifact.id)
        return {"id": artifact.id}

    def check_chosen(self, tx: Transaction, artifact_id: str) -> None:
        """Whether an id that a caller chose is free, as one that the caller left to us is. Raises AlreadyExists."""
        if artifact_id and store.exists(tx, artifact_id):
            raise _taken(artifact_id)

    async def get(self, artifact_id: str) -> Artifact:
        """Raises ArtifactNotFound."""
        return await self._database.read(lambda tx: self._get(tx, artifact_id))

    async def inline_content(self, artifact: Artifact) -> Any:
        """Small JSON content, parsed; None for any other, also for what is only called JSON."""
        if artifact.content_type != JSON or artifact.blob is None or artifact.blob.size > LARGEST_INLINE:
            return None
        text = b"".join([chunk async for chunk in self._blobs.read(artifact.blob.digest)])
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return None

    async def content(self, artifact_id: str) -> tuple[Artifact, Blob]:
        """An artifact that has content. Raises ArtifactNotFound, NoContent."""
        artifact = await self.get(artifact_id)
        if artifact.blob is None:
            raise NoContent(f"artifact {artifact_id} has no content", artifact=artifact_id)
        return artifact, artifact.blob

    async def list(
        self,
        page: PageRequest | None = None,
        *,
        type: str = "",
        parent_id: str = "",
        tags: Sequence[str] = (),
        input_id: str = "",
    ) -> Page[Artifact]:
        """Artifacts, oldest first."""
        request = page or PageRequest()
        return await self._database.read(
            lambda tx: store.list_page(tx, request, type=type, parent_id=parent_id, tags=tags, input_id=input_id)
        )

    async def update(
        self,
        artifact_id: str,
        *,
        metadata: dict[str, Any] | None = None,
        parent_id: str | None = None,
        tags: Sequence[str] = (),
        request_id: str = "",
    ) -> Artifact:
        """Changes what is given: None and no tags mean that they stay, an empty parent makes a root. Raises ArtifactNotFound,
        ParentNotFound, ArtifactCycle, TreeTooDeep, InvalidField."""
        require(check_tags(tags))

        def change(tx: Transaction) -> dict[str, Any]:
            old = self._get(tx, artifact_id)
            if parent_id is not None and (parent_id or None) != old.parent_id:
                self._move(tx, old, parent_id)
            store.update(
                tx,
                artifact_id,
                tags=tags or old.tags,
                metadata=old.metadata if metadata is None else metadata,
                updated_at=now(),
            )
            return {"id": artifact_id}

        def update(tx: Transaction) -> Artifact:
            once(tx, "artifact.update", request_id, [artifact_id, metadata, parent_id, list(tags)], lambda: change(tx))
            return self._get(tx, artifact_id)

        return await self._database.write(update)

    async def delete(self, artifact_id: str, *, request_id: str = "") -> None:
        """Deletes one artifact; its children become roots. Raises ArtifactNotFound, ModelInUse."""

        def delete(tx: Transaction) -> dict[str, Any]:
            self._get(tx, artifact_id)
            if name := store.registered(tx, store.path_of(tx, artifact_id)).get(artifact_id):
                raise in_use({artifact_id: name})
            store.delete(tx, artifact_id)
            return {}

        await self._database.write(lambda tx: once(tx, "artifact.delete", request_id, artifact_id, lambda: delete(tx)))
        self._on_deleted([artifact_id])

    async def count(self) -> int:
        return await self._database.read(store.count)

    async def expand(self, artifact_id: str) -> ArtifactNode:
        """The artifact with the label of its level, without children. Raises ArtifactNotFound."""
        return self._node(await self.get(artifact_id), {})

    async def subtree(self, artifact_id: str) -> ArtifactNode:
        """The artifact with all its descendants. Raises ArtifactNotFound."""
        found = await self._database.read(lambda tx: store.subtree(tx, artifact_id))
        if not found:
            raise not_found(artifact_id)
        children: Children = {}
        for artifact in found[1:]:
            children.setdefault(artifact.parent_id, []).append(artifact)
        return self._node(found[0], children)

    async def config_of(self, artifact_id: str) -> Config:
        """The config that the artifact's root is linked to. Raises ArtifactNotFound, NotLinked."""

        def read(tx: Transaction) -> Config | None:
            self._get(tx, artifact_id)
            root = store.path_of(tx, artifact_id).partition("/")[0]
            config_id = configs.config_linked_to(tx, root)
            return configs.get(tx, config_id) if config_id else None

        config = await self._database.read(read)
        if config is None:
            raise NotLinked(f"No config linked to artifact {artifact_id}", artifact=artifact_id)
        return config

    def _get(self, tx: Transaction, artifact_id: str) -> Artifact:
        artifact = store.get(tx, artifact_id)
        if artifact is None:
            raise not_found(artifact_id)
        return artifact

    def _parent(self, tx: Transaction, parent_id: str) -> Artifact:
        parent = store.get(tx, parent_id)
        if parent is None:
            raise ParentNotFound(f"the parent artifact {parent_id} does not exist", parent=parent_id)
        return parent

    def _move(self, tx: Transaction, artifact: Artifact, parent_id: str) -> None:
        if parent_id:
            parent = self._parent(tx, parent_id)
            if artifact.id in store.path_of(tx, parent.id).split("/"):
                what = "its own parent" if parent.id == artifact.id else "moved beneath one of its own descendants"
                message = f"Artifact {artifact.id} cannot be {what}"
                raise ArtifactCycle(message, artifact=artifact.id, parent=parent_id)
            check_depth(parent.level + 1 + store.depth_below(tx, artifact.id))
        store.move(tx, artifact.id, parent_id or None)

    def _node(self, artifact: Artifact, children: Children) -> ArtifactNode:
        hierarchy = self._hierarchy(artifact.runner_id)
        return ArtifactNode(
            artifact,
            hierarchy.label(artifact.level),
            hierarchy.name,
            tuple(self._node(child, children) for child in sorted(children.get(artifact.id, ()), key=lambda a: a.id)),
        )


def check_depth(level: int) -> None:
    if level >= DEEPEST:
        raise TreeTooDeep(f"the tree would be deeper than {DEEPEST} levels", limit=DEEPEST)


def not_found(artifact_id: str) -> ArtifactNotFound:
    return ArtifactNotFound(f"Artifact {artifact_id} not found", artifact=artifact_id)


def in_use(names: dict[str, str]) -> ModelInUse:
    """That artifacts cannot be deleted, since they are versions of registered models."""
    artifact_id, name = next(iter(names.items()))
    message = f"artifact {artifact_id} is the model {name}: forget that version first, then the artifact can be deleted"
    return ModelInUse(message, model=name)


def _taken(artifact_id: str) -> AlreadyExists:
    return AlreadyExists(f"an artifact with the id {artifact_id} exists already", id=artifact_id)
