"""What is known of a server at work."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServedRunner:
    """What there is to show of a runner, or of a predictor."""

    id: str
    name: str
    version: str
    is_predictor: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """A server at work: where it listens, and what it serves. The first runner is the default; predictors come after runners."""

    host: str
    grpc_port: int
    http_port: int
    runners: Sequence[ServedRunner]
