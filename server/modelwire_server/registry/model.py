"""What the registry knows: models by name, their versions, and where aliases point."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from ..errors import FieldViolation, InvalidField
from ..rules import ULID

# The alias that a name alone means.
PRODUCTION = "production"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,49}")
VERSION = re.compile(r"[1-9][0-9]{0,8}")


class Stage(StrEnum):
    """A label, for those who think in stages."""

    NONE = ""
    STAGING = "staging"
    PRODUCTION = "production"
    ARCHIVED = "archived"


class ModelEventKind(StrEnum):
    """What happened."""

    REGISTERED = "registered"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    UPDATED = "updated"
    ALIAS_REMOVED = "alias_removed"
    VERSION_DELETED = "version_deleted"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """A name and what it stands for. `aliases` tells the version that each alias points to, `moved` since when, where that was asked for;
    `gate` is the document of a Gate."""

    id: str
    name: str
    description: str
    tags: tuple[str, ...]
    aliases: Mapping[str, int]
    last_version: int
    gate: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    moved: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a version when it is registered, and never changes. `trained_at` is an ISO 8601 time, or empty. `source` is empty
    for what was trained here; `grant` is why content that can run code was read all the same."""

    runner_id: str = ""
    algorithm: str = ""
    features: tuple[str, ...] = ()
    target: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    framework: str = ""
    trained_at: str = ""
    signature: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    format: str = ""
    grant: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One version of a model, and the aliases that point to it."""

    id: str
    name: str
    version: int
    artifact_id: str
    facts: Facts
    stage: Stage
    description: str
    tags: tuple[str, ...]
    aliases: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEvent:
    """An entry in the log of the registry. `previous` is where the alias pointed before; 0 means nowhere. `override` is why rules of the
    gate did not count, if they did not; `grant` why content that can run code was read, if it was."""

    sequence: int
    time: datetime
    kind: ModelEventKind
    name: str
    version: int = 0
    alias: str = ""
    previous: int = 0
    override: str = ""
    grant: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """How a caller names a model: by the id of an artifact, or by a name with a version or an alias."""

    artifact_id: str = ""
    name: str = ""
    version: int = 0
    alias: str = ""

    @classmethod
    @lru_cache(maxsize=1024)  # predictions name the same few models again and again
    def parse(cls, text: str, field: str = "model") -> "Reference":
        """Reads `ID`, `name`, `name/3` and `name@alias`. Raises InvalidField."""
        if ULID.fullmatch(text.upper()):
            return cls(artifact_id=text.upper())
        name, at, alias = text.partition("@")
        if at:
            require_named(field, name, alias)
            return cls(name=name, alias=alias)
        name, slash, version = text.partition("/")
        if slash and not VERSION.fullmatch(version):
            raise InvalidField.of(FieldViolation(field, f"{text[:200]!r} has no version behind the slash: a number from 1"))
        require_named(field, name)
        return cls(name=name, version=int(version)) if slash else cls(name=name, alias=PRODUCTION)

    def __str__(self) -> str:
        if self.artifact_id:
            return self.artifact_id
        return f"{self.name}/{self.version}" if self.version else f"{self.name}@{self.alias}"


@dataclass(frozen=True, slots=True)
class Resolved:
    """The artifact that a caller means; `version` is its name, `weather/3`, if it was asked for by name."""

    artifact_id: str
    version: str = ""


def named_by_alias(text: str, field: str = "name") -> str:
    """`name@alias` of `name`, which means production, or of `name@alias`. Raises InvalidField for what is neither."""
    reference = Reference.parse(text, field)
    if not reference.alias:
        raise InvalidField.of(FieldViolation(field, f"{text[:200]!r} is neither a name nor a name with an alias: `name@alias`"))
    return str(reference)


def require_named(field: str, name: str, alias: str = PRODUCTION) -> None:
    """Raises InvalidField unless the name can be that of a model, and the alias that of an alias."""
    if violations := [*check_name(field, name), *check_alias(field, alias)]:
        raise InvalidField.of(*violations)


def check_name(field: str, name: str) -> list[FieldViolation]:
    """What is wrong with the name of a model."""
    if not name:
        return [FieldViolation(field, "is needed")]
    if not _NAME.fullmatch(name):
        rule = "1 to 100 letters, digits, `-`, `_` and `.`, beginning with a letter or digit"
        return [FieldViolation(field, f"{name[:200]!r} is neither an id nor a name of {rule}")]
    if ULID.fullmatch(name.upper()):
        return [FieldViolation(field, f"{name!r} is an id, which cannot be a name")]
    return []


def check_alias(field: str, alias: str) -> list[FieldViolation]:
    """What is wrong with an alias."""
    if _ALIAS.fullmatch(alias):
        return []
    rule = "1 to 50 letters, digits, `-` and `_`, beginning with a letter"
    return [FieldViolation(field, f"{alias[:100]!r} is no alias: {rule}")]
