"""What is to be deleted some day, as people write it into the settings."""

import re
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_SHORT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", re.IGNORECASE)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _read_short(value: Any) -> Any:
    """`12h` as a duration; what is written otherwise is left to pydantic."""
    if isinstance(value, str) and (found := _SHORT.fullmatch(value)):
        amount, unit = found.groups()
        return timedelta(**{_UNITS[unit.lower()]: float(amount)})
    return value


# `90s`, `15m`, `12h`, `30d`, `2w`, ISO 8601 (`P1DT12H`), or a number of seconds.
Duration = Annotated[timedelta, BeforeValidator(_read_short), Field(ge=timedelta(0))]


class RetentionPolicy(BaseModel):
    """Which artifacts may go. All that is given must hold; what is not given holds for every artifact.

    An artifact that the policy is about goes when it is older than `older_than` and is not one of the `keep_last` newest of its
    group: the artifacts of one type under one parent or, for roots, of one config. Artifacts with one of `unless_tags` stay.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    runner: str = Field("", description="Only what this runner made.")
    level: int | None = Field(None, ge=0, description="Only this level of the trees; models are at 0, predictions at 1.")
    type: str = Field("", description="Only this type. What callers uploaded is deleted only by a policy that names its type.")
    tags: tuple[str, ...] = Field((), description="Only what has all of these tags.")
    older_than: Duration | None = Field(None, description="Only what was made so long ago: `30d`, `12h`, `P1M`, or seconds.")
    keep_last: int | None = Field(None, ge=1, description="So many of the newest of each group stay, however old they are.")
    unless_tags: tuple[str, ...] = Field(("pinned",), description="What has one of these tags stays.")

    @model_validator(mode="after")
    def _not_everything(self) -> Self:
        if self.older_than is None and self.keep_last is None:
            raise ValueError("a policy needs older_than, keep_last or both; otherwise it would delete everything at once")
        return self
