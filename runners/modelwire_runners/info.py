"""What a runner says of itself."""

import re
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, model_validator

SLUG = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"


class AssessedStatus(StrEnum):
    """How far the author trusts the model, from not intended for use (gray) to validated (green)."""

    GRAY = "gray"
    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    GREEN = "green"


class PeriodType(StrEnum):
    """The length of a period in the `time_period` column."""

    WEEKLY = "weekly"
    MONTHLY = "monthly"
    ANY = "any"


def _email(text: str) -> str:
    if text.count("@") != 1 or text.startswith("@") or "." not in text.partition("@")[2]:
        raise ValueError("is not an e-mail address")
    return text


def _url(text: str) -> str:
    HttpUrl(text)
    return text


Email = Annotated[str, AfterValidator(_email)]
Url = Annotated[str, AfterValidator(_url)]


class ModelMetadata(BaseModel):
    """Who made a model, and how far it may be trusted."""

    model_config = ConfigDict(extra="forbid")

    author: str | None = None
    author_note: str | None = None
    author_assessed_status: AssessedStatus | None = None
    contact_email: Email | None = None
    organization: str | None = None
    organization_logo_url: Url | None = None
    citation_info: str | None = None
    repository_url: Url | None = None
    documentation_url: Url | None = None


class RunnerInfo(BaseModel):
    """A runner's info card. `id` is a slug: lower-case letters, digits and single hyphens, beginning with a letter."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(pattern=SLUG)
    display_name: str = ""
    version: str = "1.0.0"
    description: str | None = None
    model_metadata: ModelMetadata = ModelMetadata()
    period_type: PeriodType = PeriodType.ANY
    min_prediction_periods: int = Field(default=0, ge=0)
    max_prediction_periods: int = Field(default=100, ge=0)
    allow_free_additional_continuous_covariates: bool = False
    required_covariates: list[str] = []
    requires_geo: bool = False

    @model_validator(mode="after")
    def _fill_and_check(self) -> "RunnerInfo":
        self.display_name = self.display_name or self.id.replace("-", " ").capitalize()
        if self.min_prediction_periods > self.max_prediction_periods:
            raise ValueError("min_prediction_periods is greater than max_prediction_periods")
        return self


class ArtifactHierarchy(BaseModel):
    """Names the levels of the artifact trees that a runner grows: 0 is the trained model, 1 a prediction."""

    name: str = "ml"
    level_labels: dict[int, str] = {0: "ml_training", 1: "ml_prediction"}

    def label(self, level: int) -> str:
        return self.level_labels.get(level, f"level_{level}")


class RunnerLimits(BaseModel):
    """What a job of a runner may use. Unset means no limit, or the server's.

    `wall_seconds` and `cpu_seconds` are of one attempt. `memory_bytes` is address space (RLIMIT_AS) on top of what a job's process has
    at its start; give it several times the memory that the work needs. Of a script, `memory_bytes` and `cpu_seconds` are what all its
    processes use together; no single one may allocate more. `output_bytes` is what a job may write to its log, the rest is cut.
    `workspace_bytes` is what the files of a script's workspace may take. `environment` names the variables that a job gets from the
    server's environment, `*` standing for any characters (`["PATH", "LC_*"]`); unset, it gets all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    wall_seconds: float | None = Field(default=None, gt=0)
    cpu_seconds: int | None = Field(default=None, gt=0)
    memory_bytes: int | None = Field(default=None, gt=0)
    output_bytes: int | None = Field(default=None, gt=0)
    workspace_bytes: int | None = Field(default=None, gt=0)
    environment: list[str] | None = None


class RetryPolicy(BaseModel):
    """When a job that failed is tried again: at most `max_attempts` times in all, if the reason of the failure is one of `reasons`.

    Before the second attempt it waits for `backoff_seconds`, before each further one `backoff_factor` times as long, never longer than
    `max_backoff_seconds`. Reasons are those of the job: `WORKER_LOST`, `RUNNER_FAILED`, `RUNNER_EXITED`, `RUNNER_KILLED`,
    `MEMORY_LIMIT`, `DEADLINE_EXCEEDED`, ...
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_attempts: int = Field(default=1, ge=1, le=100)
    reasons: frozenset[str] = frozenset({"WORKER_LOST"})
    backoff_seconds: float = Field(default=1.0, ge=0)
    backoff_factor: float = Field(default=2.0, ge=1)
    max_backoff_seconds: float = Field(default=300.0, ge=0)

    def allows(self, reason: str, attempt: int) -> bool:
        """Whether a job that failed for this reason at this attempt, counted from 1, is tried again."""
        return attempt < self.max_attempts and reason in self.reasons

    def pause(self, attempt: int) -> float:
        """Seconds between this attempt, counted from 1, and the next."""
        # The exponent is bounded, since no float holds what a hundred attempts could make of it.
        return min(self.max_backoff_seconds, self.backoff_seconds * self.backoff_factor ** min(attempt - 1, 30))


def slug(name: str) -> str:
    """A runner id made of a Python name: `MyRunner` becomes `my-runner`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "-", name.rpartition(".")[2]).lower().strip("-")
    return words if re.match(r"[a-z]", words) else f"runner-{words}".rstrip("-")
