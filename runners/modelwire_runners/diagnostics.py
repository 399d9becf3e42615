"""Findings of a check."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, StringConstraints


class Severity(StrEnum):
    """An error means that the run would fail; a warning that its results may be poor."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class ValidationDiagnostic(BaseModel):
    """One finding: a stable code, a sentence for people, and the field that it is about."""

    severity: Severity = Severity.ERROR
    code: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    message: Annotated[str, StringConstraints(max_length=2048)]
    field: Annotated[str, StringConstraints(max_length=256)] | None = None
