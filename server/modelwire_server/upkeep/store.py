"""Retention in SQL."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ..artifacts.store import digests_of
from ..database.engine import Database, Transaction
from ..database.notifications import Topic, notify
from ..database.tables import artifact_inputs, artifacts, config_artifacts, job_events, jobs, metadata, model_versions
from ..jobs.model import JobStatus
from .retention import Candidate

# PostgreSQL's locks of applications are numbers: "upkeep" in ASCII.
_LOCK = int.from_bytes(b"upkeep")
_UNFINISHED = (JobStatus.PENDING, JobStatus.RUNNING)


def candidates(tx: Transaction) -> list[Candidate]:
    """All artifacts, as retention sees them."""
    needs = _needs(tx)
    wanted = ("id", "parent_id", "type", "level", "runner_id", "tags", "size", "created_at", "updated_at")
    query = sa.select(*(artifacts.c[name] for name in wanted), config_artifacts.c.config_id).outerjoin(
        config_artifacts, config_artifacts.c.artifact_id == artifacts.c.id
    )
    return [_candidate(row, needs) for row in tx.execute(query.execution_options(yield_per=1000))]


def in_use(tx: Transaction) -> set[str]:
    """The artifacts that unfinished jobs work with or will make, and those that are models with a name."""
    query = sa.select(jobs.c.artifact_id, jobs.c.model_id).where(jobs.c.status.in_(_UNFINISHED))
    named = set(tx.execute(sa.select(model_versions.c.artifact_id)).scalars())
    return named | {artifact_id for row in tx.execute(query) for artifact_id in row if artifact_id}


def unchanged(tx: Transaction, chosen: Collection[Candidate]) -> set[str]:
    """Those of the chosen that are as they were; until the end of the transaction nobody else puts a child under them."""
    query = sa.select(artifacts.c.id, artifacts.c.updated_at).where(artifacts.c.id.in_([c.id for c in chosen]))
    found = {row.id: row.updated_at for row in tx.execute(query.order_by(artifacts.c.id).with_for_update())}
    return {candidate.id for candidate in chosen if found.get(candidate.id) == candidate.updated_at}


def dependents(tx: Transaction, ids: Collection[str]) -> dict[str, list[str]]:
    """Which of these artifacts each artifact needs that needs one of them."""
    return _needs(tx, artifacts.c.parent_id.in_(ids), artifact_inputs.c.input_id.in_(ids))


def delete_artifacts(tx: Transaction, ids: Iterable[str]) -> None:
    """Deletes artifacts that nothing else depends on."""
    gone = list(ids)
    tx.execute(sa.delete(artifacts).where(artifacts.c.id.in_(gone)))
    for artifact_id in gone:
        notify(tx, Topic.GONE, artifact_id)


def ended_before(tx: Transaction, time: datetime, limit: int) -> list[tuple[str, int]]:
    """Some of the jobs that ended before a time, with their numbers of events."""
    query = sa.select(jobs.c.id, jobs.c.last_sequence).where(*_ended_before(time)).order_by(jobs.c.id).limit(limit)
    return [(row.id, row.last_sequence) for row in tx.execute(query)]


def count_ended_before(tx: Transaction, time: datetime) -> int:
    return tx.execute(sa.select(sa.func.count()).select_from(jobs).where(*_ended_before(time))).scalar_one()


def _ended_before(time: datetime) -> list[sa.ColumnElement[bool]]:
    return [jobs.c.status.not_in(_UNFINISHED), jobs.c.finished_at < time]


def delete_jobs(tx: Transaction, ids: Collection[str]) -> None:
    """Forgets jobs and their events."""
    tx.execute(sa.delete(jobs).where(jobs.c.id.in_(ids)))


def usage(tx: Transaction) -> dict[str, tuple[int, int]]:
    """How many artifacts there are of each type, and how many bytes they have."""
    query = sa.select(
        artifacts.c.type, sa.func.count().label("artifacts"), sa.func.coalesce(sa.func.sum(artifacts.c.size), 0).label("bytes")
    ).group_by(artifacts.c.type)
    return {row.type: (row.artifacts, int(row.bytes)) for row in tx.execute(query)}


def _needs(tx: Transaction, *conditions: sa.ColumnElement[bool]) -> dict[str, list[str]]:
    """What each artifact needs: its parent and the artifacts among its inputs. The conditions are one for each of them."""
    of_parent, of_inputs = conditions or (artifacts.c.parent_id.is_not(None), sa.true())
    parents = sa.select(artifacts.c.id, artifacts.c.parent_id).where(of_parent)
    named = artifacts.alias()
    inputs = (
        sa.select(artifact_inputs.c.artifact_id, artifact_inputs.c.input_id)
        .join(named, named.c.id == artifact_inputs.c.input_id)
        .where(of_inputs)
    )
    found: defaultdict[str, list[str]] = defaultdict(list)
    for query in (parents, inputs):
        for needing, needed in tx.execute(query.execution_options(yield_per=1000)):
            found[needing].append(needed)
    return found


def _candidate(row: sa.Row[*tuple[Any, ...]], needs: Mapping[str, list[str]]) -> Candidate:
    return Candidate(
        id=row.id,
        type=row.type,
        level=row.level,
        runner_id=row.runner_id,
        parent_id=row.parent_id,
        config_id=row.config_id or "",
        tags=frozenset(row.tags),
        needs=tuple(needs.get(row.id, ())),
        size=row.size or 0,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


@contextmanager
def advisory_lock(database: Database) -> Iterator[bool]:
    """Whether this is the only one; PostgreSQL lets go when the connection, which is one of its own, ends."""
    engine = sa.create_engine(database.engine.url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection.execute(sa.select(sa.func.pg_try_advisory_lock(_LOCK))).scalar_one()


def count(tx: Transaction, table: str) -> int:
    """How many rows a table has."""
    return tx.execute(sa.select(sa.func.count()).select_from(metadata.tables[table])).scalar_one()


def users_of_content(tx: Transaction) -> Iterator[tuple[str, str]]:
    """All digests that are referred to, each with who does so."""
    own = sa.select(artifacts.c.id, artifacts.c.digest).where(artifacts.c.digest.is_not(None))
    for row in tx.execute(own):
        yield row.digest, f"artifact {row.id}"
    inputs = sa.select(artifact_inputs.c.artifact_id, artifact_inputs.c.role, artifact_inputs.c.digest)
    for edge in tx.execute(inputs.where(artifact_inputs.c.digest != "")):
        yield edge.digest, f"artifact {edge.artifact_id} ({edge.role})"
    for job in tx.execute(sa.select(jobs.c.id, jobs.c.input)):
        for digest in digests_of(job.input):
            yield digest, f"job {job.id}"


def sizes_of_content(tx: Transaction) -> list[tuple[str, str, int]]:
    """The id, digest and recorded size of each artifact that has content."""
    query = sa.select(artifacts.c.id, artifacts.c.digest, artifacts.c.size).where(artifacts.c.digest.is_not(None))
    return [(row.id, row.digest, row.size) for row in tx.execute(query)]


def broken_logs(tx: Transaction) -> Iterator[tuple[str, str]]:
    """Jobs whose events are not 1, 2, 3 ... up to the one that is recorded as the last."""
    first, last, total = (function(job_events.c.sequence) for function in (sa.func.min, sa.func.max, sa.func.count))
    query = (
        sa.select(jobs.c.id, jobs.c.last_sequence, first.label("first"), last.label("last"), total.label("total"))
        .join_from(jobs, job_events, isouter=True)
        .group_by(jobs.c.id, jobs.c.last_sequence)
        .having(sa.or_(total != jobs.c.last_sequence, sa.and_(total > 0, sa.or_(first != 1, last != jobs.c.last_sequence))))
    )
    for row in tx.execute(query.order_by(jobs.c.id)):
        yield f"job {row.id}", f"has {row.total} events from {row.first} to {row.last}; there should be {row.last_sequence} from 1"


def broken_trees(tx: Transaction) -> Iterator[tuple[str, str]]:
    """Artifacts that are not where their parent says."""
    parent = artifacts.alias()
    above = sa.func.coalesce(parent.c.path, "")
    query = (
        sa.select(artifacts.c.id, artifacts.c.parent_id, artifacts.c.path, artifacts.c.level)
        .join_from(artifacts, parent, parent.c.id == artifacts.c.parent_id, isouter=True)
        .where(
            sa.or_(
                sa.and_(artifacts.c.parent_id.is_not(None), parent.c.id.is_(None)),
                artifacts.c.path != above.concat(artifacts.c.id).concat("/"),
                artifacts.c.level != parent.c.level + 1,
            )
        )
    )
    for row in tx.execute(query.order_by(artifacts.c.id)):
        yield f"artifact {row.id}", f"is at level {row.level}, at {row.path}, which does not fit its parent {row.parent_id}"


def broken_rows(tx: Transaction) -> Iterator[tuple[str, str]]:
    """What SQLite finds wrong with its file, and rows that refer to none. PostgreSQL sees to that by itself."""
    if tx.dialect.name != "sqlite":
        return
    for (problem,) in tx.exec_driver_sql("PRAGMA integrity_check"):
        if problem != "ok":
            yield "the database", problem
    for table, row, referred, _ in tx.exec_driver_sql("PRAGMA foreign_key_check"):
        yield f"row {row} of {table}", f"refers to a row of {referred} that is not there"
