"""The tables. Content is never here: blobs hold it, rows refer to it by digest."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect


class UtcTime(TypeDecorator[datetime]):
    """Aware times in UTC, also where the database knows no zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = String(26)
Digest = String(71)
# Compared byte by byte, whatever the language of the database: ranges of paths depend on it.
Path = Text().with_variant(Text(collation="C"), "postgresql")

configs = Table(
    "configs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("runner_id", String(200), nullable=False, index=True),
    Column("name", String(200), nullable=False, index=True),
    Column("data", JSON, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("parent_id", Id, ForeignKey("artifacts.id"), index=True),
    # The ids from the root down to this node, each followed by a slash: a subtree is a range of paths.
    Column("path", Path, nullable=False, index=True),
    Column("level", Integer, nullable=False),
    Column("type", String(100), nullable=False, index=True),
    Column("metadata", JSON, nullable=False),
    Column("content_type", String(200), nullable=False),
    Column("digest", Digest, index=True),
    Column("size", BigInteger),
    Column("tags", JSON, nullable=False),
    Column("runner_id", String(200), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
)

artifact_inputs = Table(
    "artifact_inputs",
    metadata,
    Column("artifact_id", Id, ForeignKey("artifacts.id", ondelete="CASCADE"), primary_key=True),
    Column("role", String(50), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("input_id", String(26), nullable=False, index=True),
    Column("digest", String(71), nullable=False),
)

config_artifacts = Table(
    "config_artifacts",
    metadata,
    Column("artifact_id", Id, ForeignKey("artifacts.id", ondelete="CASCADE"), primary_key=True),
    Column("config_id", Id, ForeignKey("configs.id", ondelete="CASCADE"), nullable=False, index=True),
)

models = Table(
    "models",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("description", Text, nullable=False),
    Column("tags", JSON, nullable=False),
    # What a version must keep before an alias is pointed to it; empty if nothing.
    Column("gate", JSON, nullable=False),
    # Versions are counted here, so that a number is never given twice.
    Column("last_version", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
)

model_versions = Table(
    "model_versions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("model_id", Id, ForeignKey("models.id", ondelete="CASCADE"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("artifact_id", Id, ForeignKey("artifacts.id"), nullable=False, index=True),
    # What was known of it when it was registered: algorithm, features, metrics ...
    Column("facts", JSON, nullable=False),
    Column("stage", String(20), nullable=False),
    Column("description", Text, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("model_id", "version"),
)

model_aliases = Table(
    "model_aliases",
    metadata,
    Column("model_id", Id, ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
    Column("alias", String(50), primary_key=True),
    Column("version", Integer, nullable=False),
    # Where it pointed before, the latest last: what a rollback goes back to.
    Column("history", JSON, nullable=False),
)

model_events = Table(
    "model_events",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("time", UtcTime, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("name", String(100), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("alias", String(50), nullable=False),
    Column("previous", Integer, nullable=False),
    Column("override", Text, nullable=False),
    Column("grant", Text, nullable=False, server_default=""),
)

# Who answers predictions by name, up to which event each has taken notice, and until when it is believed to live without a sign.
model_followers = Table(
    "model_followers",
    metadata,
    Column("id", Id, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("lease_until", UtcTime, nullable=False),
)

# Requests to look for models anew: the last one of each name, and with an empty name of all.
model_reloads = Table(
    "model_reloads",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("number", BigInteger, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("status", String(20), nullable=False),
    Column("runner_id", String(200), nullable=False),
    Column("config_id", String(26), nullable=False, index=True),
    Column("model_id", String(26), nullable=False),
    Column("artifact_id", Id, nullable=False),
    Column("input", JSON, nullable=False),
    Column("timeout", Float),
    Column("submitted_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("finished_at", UtcTime),
    Column("error", Text),
    Column("error_traceback", Text),
    Column("error_reason", String(63)),
    Column("stage", String(20), nullable=False),
    Column("progress", Float),
    Column("attempt", Integer, nullable=False),
    # How many of the attempts failed; one that was handed back by a server that stopped has not.
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("priority", Integer, nullable=False, server_default="0"),
    # A job that waits for another attempt may not begin earlier.
    Column("not_before", UtcTime),
    Column("last_sequence", BigInteger, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("cancel_message", Text, nullable=False),
    # Who runs the job, and until when that is believed without a sign of life.
    Column("worker_id", String(26)),
    Column("lease_until", UtcTime),
    Index("ix_jobs_status_priority_id", "status", "priority", "id"),
)

job_events = Table(
    "job_events",
    metadata,
    Column("job_id", Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("kind", String(20), nullable=False),
    Column("data", JSON, nullable=False),
    Column("time", UtcTime, nullable=False),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("scope", String(50), primary_key=True),
    Column("request_id", String(100), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("answer", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False, index=True),
)
