"""Models by name in SQL.

Whatever changes the registry takes its lock first: events are numbered without gaps, and nobody sees a later one before an earlier.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ..clock import new_id, now
from ..configs.store import has_tags
from ..database.engine import Transaction
from ..database.notifications import Topic, notify
from ..database.tables import model_aliases as aliases
from ..database.tables import model_events as events
from ..database.tables import model_followers as followers
from ..database.tables import model_reloads as reloads
from ..database.tables import model_versions as versions
from ..database.tables import models
from ..paging import Page, PageRequest
from .model import Facts, ModelEvent, ModelEventKind, ModelVersion, RegisteredModel, Stage

# PostgreSQL's locks of applications are numbers: "registry" in ASCII.
_LOCK = int.from_bytes(b"registry")
_LAST = sa.select(sa.func.coalesce(sa.func.max(events.c.sequence), 0))


def lock(tx: Transaction) -> None:
    """Makes this the only transaction that changes the registry. On SQLite every writing transaction is alone."""
    if tx.dialect.name == "postgresql":
        tx.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def get(tx: Transaction, name: str) -> RegisteredModel | None:
    row = tx.execute(sa.select(models).where(models.c.name == name)).one_or_none()
    return None if row is None else _model(row, _aliases_of(tx, row.id))


def list_page(tx: Transaction, page: PageRequest, *, tags: Sequence[str] = ()) -> Page[RegisteredModel]:
    """Models, oldest first."""
    conditions = has_tags(models.c.tags, tags)
    total = tx.execute(sa.select(sa.func.count()).select_from(models).where(*conditions)).scalar_one()
    query = sa.select(models).where(*conditions, models.c.id > page.after).order_by(models.c.id)
    rows = tx.execute(query.offset(page.skip).limit(page.size + 1)).all()
    found = [_model(row, _aliases_of(tx, row.id)) for row in rows]
    return page.page(found, [model.id for model in found], total)


def aliased(tx: Transaction, alias: str) -> list[str]:
    """The models that have an alias, as `name@alias`."""
    joined = models.join(aliases, aliases.c.model_id == models.c.id)
    names = tx.execute(sa.select(models.c.name).select_from(joined).where(aliases.c.alias == alias)).scalars()
    return [f"{name}@{alias}" for name in names]


def insert(tx: Transaction, name: str, time: datetime) -> None:
    row = {
        "id": new_id(),
        "name": name,
        "description": "",
        "tags": [],
        "gate": {},
        "last_version": 0,
        "created_at": time,
        "updated_at": time,
    }
    tx.execute(sa.insert(models), row)


def update(tx: Transaction, model: RegisteredModel, *, description: str, tags: Sequence[str], gate: Mapping[str, Any]) -> None:
    values = {"description": description, "tags": list(tags), "gate": gate, "updated_at": now()}
    tx.execute(sa.update(models).where(models.c.id == model.id).values(**values))


def delete(tx: Transaction, model: RegisteredModel) -> None:
    tx.execute(sa.delete(models).where(models.c.id == model.id))


def next_version(tx: Transaction, model: RegisteredModel) -> int:
    """A number that no version of the model had."""
    more = sa.update(models).where(models.c.id == model.id).values(last_version=models.c.last_version + 1, updated_at=now())
    number: int = tx.execute(more.returning(models.c.last_version)).scalar_one()
    return number


def insert_version(tx: Transaction, model: RegisteredModel, version: ModelVersion) -> None:
    row = {
        "id": version.id,
        "model_id": model.id,
        "version": version.version,
        "artifact_id": version.artifact_id,
        "facts": asdict(version.facts),
        "stage": version.stage,
        "description": version.description,
        "tags": list(version.tags),
        "created_at": version.created_at,
    }
    tx.execute(sa.insert(versions), row)


def get_version(tx: Transaction, model: RegisteredModel, number: int) -> ModelVersion | None:
    row = tx.execute(sa.select(versions).where(versions.c.model_id == model.id, versions.c.version == number)).one_or_none()
    return None if row is None else _version(row, model)


def list_versions(tx: Transaction, model: RegisteredModel, page: PageRequest, *, stage: Stage = Stage.NONE) -> Page[ModelVersion]:
    """Versions, newest first."""
    conditions = [versions.c.model_id == model.id, *([versions.c.stage == stage] if stage else [])]
    total = tx.execute(sa.select(sa.func.count()).select_from(versions).where(*conditions)).scalar_one()
    if page.after:
        conditions.append(versions.c.id < page.after)
    query = sa.select(versions).where(*conditions).order_by(versions.c.id.desc()).offset(page.skip).limit(page.size + 1)
    found = [_version(row, model) for row in tx.execute(query)]
    return page.page(found, [version.id for version in found], total)


def update_version(tx: Transaction, version: ModelVersion, *, description: str, tags: Sequence[str], stage: Stage) -> None:
    values = {"description": description, "tags": list(tags), "stage": stage}
    tx.execute(sa.update(versions).where(versions.c.id == version.id).values(**values))


def delete_version(tx: Transaction, version: ModelVersion) -> None:
    tx.execute(sa.delete(versions).where(versions.c.id == version.id))


def history_of(tx: Transaction, model: RegisteredModel, alias: str) -> list[int]:
    """Where an alias pointed before, the latest last."""
    query = sa.select(aliases.c.history).where(aliases.c.model_id == model.id, aliases.c.alias == alias)
    return list(tx.execute(query).scalar_one_or_none() or [])


def point(tx: Transaction, model: RegisteredModel, alias: str, number: int, history: Sequence[int]) -> None:
    """Points an alias to a version."""
    here = (aliases.c.model_id == model.id, aliases.c.alias == alias)
    values = {"version": number, "history": list(history)}
    if not tx.execute(sa.update(aliases).where(*here).values(**values).returning(aliases.c.alias)).all():
        tx.execute(sa.insert(aliases), {"model_id": model.id, "alias": alias, **values})
    tx.execute(sa.update(models).where(models.c.id == model.id).values(updated_at=now()))


def remove_alias(tx: Transaction, model: RegisteredModel, alias: str) -> None:
    tx.execute(sa.delete(aliases).where(aliases.c.model_id == model.id, aliases.c.alias == alias))


def with_moves(tx: Transaction, model: RegisteredModel) -> RegisteredModel:
    """The model, with the times at which its aliases were pointed to where they point."""
    moves = (ModelEventKind.PROMOTED, ModelEventKind.ROLLED_BACK)
    query = sa.select(events.c.alias, sa.func.max(events.c.time).label("time"))
    rows = tx.execute(query.where(events.c.name == model.name, events.c.kind.in_(moves)).group_by(events.c.alias))
    moved = {row.alias: row.time for row in rows}
    return replace(model, moved={alias: moved[alias] for alias in model.aliases if alias in moved})


def tell(tx: Transaction, kind: ModelEventKind, name: str, **about: Any) -> int:
    """Adds to the log, tells the other servers, and returns the number of the event; `about` are fields of ModelEvent. The caller has the
    lock."""
    sequence = last_sequence(tx) + 1
    tx.execute(sa.insert(events), asdict(ModelEvent(sequence=sequence, time=now(), kind=kind, name=name, **about)))
    notify(tx, Topic.MODELS, str(sequence))
    return sequence


def last_sequence(tx: Transaction) -> int:
    """The number of the last event; 0 before the first."""
    return int(tx.execute(_LAST).scalar_one())


def events_after(tx: Transaction, sequence: int, limit: int, name: str = "") -> list[ModelEvent]:
    """The next events, in order."""
    conditions = [events.c.sequence > sequence, *([events.c.name == name] if name else [])]
    rows = tx.execute(sa.select(events).where(*conditions).order_by(events.c.sequence).limit(limit))
    return [ModelEvent(**{**row._mapping, "kind": ModelEventKind(row.kind)}) for row in rows]


def names_after(tx: Transaction, sequence: int) -> set[str]:
    """The models that something happened to after an event."""
    return set(tx.execute(sa.select(events.c.name).where(events.c.sequence > sequence).distinct()).scalars())


def follow(tx: Transaction, follower: str, sequence: int, lease: timedelta) -> None:
    """Says that a server lives and has taken notice of all events up to this one."""
    values = {"sequence": sequence, "lease_until": _present(tx) + lease}
    here = followers.c.id == follower
    if not tx.execute(sa.update(followers).where(here).values(**values).returning(followers.c.id)).all():
        tx.execute(sa.insert(followers), {"id": follower, **values})
    notify(tx, Topic.MODELS_SEEN, str(sequence))


def leave(tx: Transaction, follower: str) -> None:
    """A server follows no more."""
    tx.execute(sa.delete(followers).where(followers.c.id == follower))
    notify(tx, Topic.MODELS_SEEN)


def seconds_behind(tx: Transaction, sequence: int) -> float:
    """For how long, at most, the servers that have not taken notice of an event yet are believed to live; 0 if there are none."""
    time = _present(tx)
    query = sa.select(sa.func.max(followers.c.lease_until)).where(followers.c.sequence < sequence, followers.c.lease_until > time)
    last: datetime | None = tx.execute(query).scalar_one()
    return 0.0 if last is None else (last - time).total_seconds()


def forget_dead_followers(tx: Transaction, silent_for: timedelta) -> None:
    tx.execute(sa.delete(followers).where(followers.c.lease_until < _present(tx) - silent_for))


def request_reload(tx: Transaction, name: str) -> None:
    """Numbers a request to look for a model, or with an empty name for all, and tells the other servers. The caller has the lock."""
    number = last_reload(tx) + 1
    here = reloads.c.name == name
    if not tx.execute(sa.update(reloads).where(here).values(number=number).returning(reloads.c.name)).all():
        tx.execute(sa.insert(reloads), {"name": name, "number": number})
    notify(tx, Topic.RELOADS, str(number))


def last_reload(tx: Transaction) -> int:
    """The number of the last request; 0 before the first."""
    return int(tx.execute(sa.select(sa.func.coalesce(sa.func.max(reloads.c.number), 0))).scalar_one())


def reloads_after(tx: Transaction, number: int) -> list[tuple[int, str]]:
    """The numbers and names of the requests after one, in order; of each name only the last."""
    query = sa.select(reloads.c.number, reloads.c.name).where(reloads.c.number > number).order_by(reloads.c.number)
    return [(row.number, row.name) for row in tx.execute(query)]


def _present(tx: Transaction) -> datetime:
    """The time of the one clock that all servers share."""
    if tx.dialect.name == "postgresql":
        shared: datetime = tx.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return shared
    return now()


def _aliases_of(tx: Transaction, model_id: str) -> dict[str, int]:
    query = sa.select(aliases.c.alias, aliases.c.version).where(aliases.c.model_id == model_id).order_by(aliases.c.alias)
    return {row.alias: row.version for row in tx.execute(query)}


def _model(row: sa.Row[*tuple[Any, ...]], pointing: dict[str, int]) -> RegisteredModel:
    return RegisteredModel(**{**row._mapping, "tags": tuple(row.tags)}, aliases=pointing)


def _version(row: sa.Row[*tuple[Any, ...]], model: RegisteredModel) -> ModelVersion:
    return ModelVersion(
        id=row.id,
        name=model.name,
        version=row.version,
        artifact_id=row.artifact_id,
        facts=_facts(row.facts),
        stage=Stage(row.stage),
        description=row.description,
        tags=tuple(row.tags),
        aliases=tuple(alias for alias, number in model.aliases.items() if number == row.version),
        created_at=row.created_at,
    )


def _facts(document: dict[str, Any]) -> Facts:
    """NaN is text in the database."""
    metrics = {name: float(value) for name, value in document["metrics"].items()}
    return Facts(**{**document, "features": tuple(document["features"]), "metrics": metrics})
