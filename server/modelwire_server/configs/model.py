"""A config, as the domain sees it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Named, validated parameters for a runner. `data` holds all defaults; extra keys are kept."""

    id: str
    runner_id: str
    name: str
    data: dict[str, Any]
    tags: tuple[str, ...] = ()
    created_at: datetime
    updated_at: datetime
