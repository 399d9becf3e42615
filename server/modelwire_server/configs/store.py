"""Configs and their links in SQL."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ..database.engine import Transaction
from ..database.tables import artifacts, config_artifacts, configs
from ..paging import Page, PageRequest
from .model import Config

_LINK_IF_THERE = sa.insert(config_artifacts).from_select(
    ["artifact_id", "config_id"],
    sa.select(sa.bindparam("artifact", type_=config_artifacts.c.artifact_id.type), configs.c.id).where(
        configs.c.id == sa.bindparam("config")
    ),
)
_BY_ID = sa.select(configs).where(configs.c.id == sa.bindparam("id"))


def insert(tx: Transaction, config: Config) -> None:
    tx.execute(sa.insert(configs), _row(config))


def get(tx: Transaction, config_id: str) -> Config | None:
    row = tx.execute(_BY_ID, {"id": config_id}).one_or_none()
    return None if row is None else _config(row)


def list_page(tx: Transaction, page: PageRequest, *, runner_id: str = "", tags: Sequence[str] = (), name: str = "") -> Page[Config]:
    """Configs, oldest first."""
    conditions = [*has_tags(configs.c.tags, tags)]
    if runner_id:
        conditions.append(configs.c.runner_id == runner_id)
    if name:
        conditions.append(configs.c.name == name)
    total = tx.execute(sa.select(sa.func.count()).select_from(configs).where(*conditions)).scalar_one()
    query = sa.select(configs).where(*conditions, configs.c.id > page.after).order_by(configs.c.id)
    found = [_config(row) for row in tx.execute(query.offset(page.skip).limit(page.size + 1))]
    return page.page(found, [config.id for config in found], total)


def update(tx: Transaction, config: Config) -> None:
    tx.execute(sa.update(configs).where(configs.c.id == config.id).values(_row(config)))


def delete(tx: Transaction, config_id: str) -> bool:
    """Deletes a config and its links; whether there was one."""
    return bool(tx.execute(sa.delete(configs).where(configs.c.id == config_id)).rowcount)


def count(tx: Transaction) -> int:
    return tx.execute(sa.select(sa.func.count()).select_from(configs)).scalar_one()


def link(tx: Transaction, config_id: str, artifact_id: str) -> None:
    tx.execute(sa.insert(config_artifacts), {"config_id": config_id, "artifact_id": artifact_id})


def link_if_there(tx: Transaction, config_id: str, artifact_id: str) -> None:
    """Links an artifact to a config that may be gone."""
    tx.execute(_LINK_IF_THERE, {"artifact": artifact_id, "config": config_id})


def unlink(tx: Transaction, config_id: str, artifact_id: str) -> bool:
    """Removes a link; whether there was one."""
    pair = (config_artifacts.c.config_id == config_id, config_artifacts.c.artifact_id == artifact_id)
    return bool(tx.execute(sa.delete(config_artifacts).where(*pair)).rowcount)


def config_linked_to(tx: Transaction, artifact_id: str) -> str | None:
    """The id of the config that an artifact is linked to."""
    return tx.execute(
        sa.select(config_artifacts.c.config_id).where(config_artifacts.c.artifact_id == artifact_id)
    ).scalar_one_or_none()


def linked_roots(tx: Transaction, config_id: str) -> list[str]:
    """The ids of the artifacts that are linked to a config, oldest first."""
    query = (
        sa.select(artifacts.c.id)
        .join(config_artifacts, config_artifacts.c.artifact_id == artifacts.c.id)
        .where(config_artifacts.c.config_id == config_id)
        .order_by(artifacts.c.id)
    )
    return list(tx.execute(query).scalars())


def has_tags(column: sa.Column[Any], tags: Sequence[str]) -> list[sa.ColumnElement[bool]]:
    """Conditions that a JSON list of tags holds all of these. Tags have no quotes, so that the text of the list can be searched."""
    text = sa.cast(column, sa.Text)
    return [text.contains(f'"{tag}"', autoescape=True) for tag in tags]


def _row(config: Config) -> dict[str, Any]:
    return {
        "id": config.id,
        "runner_id": config.runner_id,
        "name": config.name,
        "data": config.data,
        "tags": list(config.tags),
        "created_at": config.created_at,
        "updated_at": config.updated_at,
    }


def _config(row: sa.Row[Any]) -> Config:
    return Config(
        id=row.id,
        runner_id=row.runner_id,
        name=row.name,
        data=row.data,
        tags=tuple(row.tags),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
