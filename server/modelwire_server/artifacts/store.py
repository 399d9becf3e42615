"""Artifacts in SQL. A node's path holds the ids from its root down, so that a subtree is one range of an index."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ..configs.store import has_tags
from ..database.engine import Transaction
from ..database.inserting import insert_new
from ..database.notifications import Topic, notify
from ..database.tables import artifact_inputs, artifacts, jobs, model_versions, models
from ..paging import Page, PageRequest
from .model import WORKSPACE, Artifact, ArtifactInput, Blob

_INSERT_INPUTS = sa.insert(artifact_inputs)
_BY_ID = sa.select(artifacts).where(artifacts.c.id == sa.bindparam("id"))
_INPUTS_OF = (
    sa.select(artifact_inputs)
    .where(artifact_inputs.c.artifact_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(artifact_inputs.c.position)
)


def insert(tx: Transaction, artifact: Artifact) -> bool:
    """Inserts a node below its parent, which must exist; False if its id is taken."""
    parent = path_of(tx, artifact.parent_id) if artifact.parent_id else ""
    if not tx.execute(insert_new(tx.dialect.name, artifacts, "id"), _row(artifact, f"{parent}{artifact.id}/")).all():
        return False
    if artifact.inputs:
        tx.execute(_INSERT_INPUTS, [_input_row(artifact.id, n, edge) for n, edge in enumerate(artifact.inputs)])
    return True


def get(tx: Transaction, artifact_id: str) -> Artifact | None:
    row = tx.execute(_BY_ID, {"id": artifact_id}).one_or_none()
    return None if row is None else _artifact(row, tuple(_inputs(tx, [artifact_id]).get(artifact_id, ())))


def exists(tx: Transaction, artifact_id: str) -> bool:
    return tx.execute(sa.select(artifacts.c.id).where(artifacts.c.id == artifact_id)).one_or_none() is not None


def registered(tx: Transaction, path: str) -> dict[str, str]:
    """Which artifacts of the subtree at a path are versions of registered models, and of which: `weather/3`."""
    query = (
        sa.select(artifacts.c.id, models.c.name, model_versions.c.version)
        .join(model_versions, model_versions.c.artifact_id == artifacts.c.id)
        .join(models, models.c.id == model_versions.c.model_id)
        .where(below(path))
    )
    return {row.id: f"{row.name}/{row.version}" for row in tx.execute(query)}


def path_of(tx: Transaction, artifact_id: str) -> str:
    path: str = tx.execute(sa.select(artifacts.c.path).where(artifacts.c.id == artifact_id)).scalar_one()
    return path


def list_page(
    tx: Transaction, page: PageRequest, *, type: str = "", parent_id: str = "", tags: Sequence[str] = (), input_id: str = ""
) -> Page[Artifact]:
    """Artifacts, oldest first."""
    conditions = [*has_tags(artifacts.c.tags, tags)]
    if type:
        conditions.append(artifacts.c.type == type)
    if parent_id:
        conditions.append(artifacts.c.parent_id == parent_id)
    if input_id:
        users = sa.select(artifact_inputs.c.artifact_id).where(artifact_inputs.c.input_id == input_id)
        conditions.append(artifacts.c.id.in_(users))
    total = tx.execute(sa.select(sa.func.count()).select_from(artifacts).where(*conditions)).scalar_one()
    found = _select(tx, *conditions, artifacts.c.id > page.after, offset=page.skip, limit=page.size + 1)
    return page.page(found, [artifact.id for artifact in found], total)


def update(tx: Transaction, artifact_id: str, *, tags: Sequence[str], metadata: dict[str, Any], updated_at: datetime) -> None:
    values = {"tags": list(tags), "metadata": metadata, "updated_at": updated_at}
    tx.execute(sa.update(artifacts).where(artifacts.c.id == artifact_id).values(values))


def move(tx: Transaction, artifact_id: str, parent_id: str | None) -> None:
    """Puts a node with all its descendants under another parent, which is none of them; levels and paths follow."""
    old_path = path_of(tx, artifact_id)
    old_level = tx.execute(sa.select(artifacts.c.level).where(artifacts.c.id == artifact_id)).scalar_one()
    parent = get(tx, parent_id) if parent_id else None
    new_path = (path_of(tx, parent.id) if parent else "") + f"{artifact_id}/"
    shift = (parent.level + 1 if parent else 0) - old_level
    tx.execute(
        sa.update(artifacts)
        .where(below(old_path))
        .values(
            path=sa.literal(new_path).concat(sa.func.substr(artifacts.c.path, len(old_path) + 1)),
            level=artifacts.c.level + shift,
        )
    )
    tx.execute(sa.update(artifacts).where(artifacts.c.id == artifact_id).values(parent_id=parent_id))


def delete(tx: Transaction, artifact_id: str) -> None:
    """Deletes one node; its children become roots and keep their level."""
    for child in list(tx.execute(sa.select(artifacts.c.id).where(artifacts.c.parent_id == artifact_id)).scalars()):
        old_path = path_of(tx, child)
        new = sa.literal(f"{child}/").concat(sa.func.substr(artifacts.c.path, len(old_path) + 1))
        tx.execute(sa.update(artifacts).where(below(old_path)).values(path=new))
        tx.execute(sa.update(artifacts).where(artifacts.c.id == child).values(parent_id=None))
    _delete(tx, artifact_id)


def delete_tree(tx: Transaction, artifact_id: str) -> list[str]:
    """Deletes a node with all its descendants; returns their ids."""
    ids = [artifact.id for artifact in subtree(tx, artifact_id)]
    # Children before parents, for the foreign key.
    for artifact in reversed(ids):
        _delete(tx, artifact)
    return ids


def _delete(tx: Transaction, artifact_id: str) -> None:
    tx.execute(sa.delete(artifacts).where(artifacts.c.id == artifact_id))
    notify(tx, Topic.GONE, artifact_id)


def subtree(tx: Transaction, artifact_id: str) -> list[Artifact]:
    """A node and its descendants, each parent before its children, siblings oldest first."""
    path = tx.execute(sa.select(artifacts.c.path).where(artifacts.c.id == artifact_id)).scalar_one_or_none()
    return [] if path is None else _select(tx, below(path), order=artifacts.c.path)


def depth_below(tx: Transaction, artifact_id: str) -> int:
    """How many levels a node's descendants reach below it."""
    path, level = tx.execute(sa.select(artifacts.c.path, artifacts.c.level).where(artifacts.c.id == artifact_id)).one()
    deepest: int = tx.execute(sa.select(sa.func.max(artifacts.c.level)).where(below(path))).scalar_one()
    depth: int = deepest - level
    return depth


def count(tx: Transaction) -> int:
    return tx.execute(sa.select(sa.func.count()).select_from(artifacts)).scalar_one()


@dataclass(frozen=True, slots=True)
class References:
    """The digests of all content that an artifact or a job refers to; `workspaces` are those among them that may be lists of files,
    whose content is referred to as well."""

    digests: set[str]
    workspaces: set[str]


def references(tx: Transaction) -> References:
    contents = tx.execute(sa.select(artifacts.c.digest, artifacts.c.content_type).where(artifacts.c.digest.is_not(None))).all()
    inputs = tx.execute(sa.select(artifact_inputs.c.digest).where(artifact_inputs.c.digest != "")).scalars().all()
    orders = tx.execute(sa.select(jobs.c.input)).scalars().all()
    of_artifacts = {digest for digest, _ in contents}
    # A job may still work with a model whose artifact is gone, and with it what tells whether it is a workspace.
    models = {order["model"]["digest"] for order in orders if order.get("model")}
    of_jobs = {digest for order in orders for digest in digests_of(order)}
    return References(
        digests={*of_artifacts, *inputs, *of_jobs},
        workspaces={digest for digest, content_type in contents if content_type == WORKSPACE} | (models - of_artifacts),
    )


def digests_of(order: dict[str, Any]) -> list[str]:
    """The digests in a job's input."""
    model = order.get("model") or {}
    return [digest for digest in (*order.get("frames", {}).values(), order.get("geo"), model.get("digest")) if digest]


def below(path: str) -> sa.ColumnElement[bool]:
    """The node of a path and its descendants: '/' is followed by '0'."""
    return sa.and_(artifacts.c.path >= path, artifacts.c.path < path[:-1] + "0")


def _select(
    tx: Transaction, *conditions: sa.ColumnElement[bool], offset: int = 0, limit: int | None = None, order: Any = artifacts.c.id
) -> list[Artifact]:
    query = sa.select(artifacts).where(*conditions).order_by(order).offset(offset).limit(limit)
    rows = tx.execute(query).all()
    edges = _inputs(tx, [row.id for row in rows])
    return [_artifact(row, tuple(edges.get(row.id, ()))) for row in rows]


def _inputs(tx: Transaction, ids: list[str]) -> dict[str, list[ArtifactInput]]:
    edges: dict[str, list[ArtifactInput]] = {}
    for row in tx.execute(_INPUTS_OF, {"ids": ids}):
        edges.setdefault(row.artifact_id, []).append(ArtifactInput(row.role, row.input_id, row.digest))
    return edges


def _row(artifact: Artifact, path: str) -> dict[str, Any]:
    return {
        "id": artifact.id,
        "parent_id": artifact.parent_id,
        "path": path,
        "level": artifact.level,
        "type": artifact.type,
        "metadata": artifact.metadata,
        "content_type": artifact.content_type,
        "digest": artifact.blob and artifact.blob.digest,
        "size": artifact.blob and artifact.blob.size,
        "tags": list(artifact.tags),
        "runner_id": artifact.runner_id,
        "created_at": artifact.created_at,
        "updated_at": artifact.updated_at,
    }


def _input_row(artifact_id: str, position: int, edge: ArtifactInput) -> dict[str, Any]:
    return {"artifact_id": artifact_id, "role": edge.role, "position": position, "input_id": edge.id, "digest": edge.digest}


def _artifact(row: sa.Row[Any], inputs: tuple[ArtifactInput, ...]) -> Artifact:
    return Artifact(
        id=row.id,
        parent_id=row.parent_id,
        level=row.level,
        type=row.type,
        metadata=row.metadata,
        content_type=row.content_type,
        blob=Blob(row.digest, row.size) if row.digest else None,
        tags=tuple(row.tags),
        inputs=inputs,
        runner_id=row.runner_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
