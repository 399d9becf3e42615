"""The readiness of models, in the words of the contract and in those of grpc.health.v1."""

import asyncio
import contextlib

from modelwire.v1 import model_service_pb2 as pb

from ..errors import InvalidField, ModelNotFound
from ..registry.model import PRODUCTION
from ..registry.readiness import ModelReadiness, Readiness
from .messages import timestamp

# What the names of models begin with in health checks.
PREFIX = "models/"


def readiness_message(state: Readiness) -> pb.ModelReadiness:
    return pb.ModelReadiness(
        model=state.model,
        ready=state.ready,
        version=state.version,
        message=state.message,
        failed_attempts=state.failed_attempts,
        next_attempt_at=timestamp(state.next_attempt_at) if state.next_attempt_at else None,
        checked_at=timestamp(state.checked_at) if state.checked_at else None,
        expected=state.expected,
    )


class ModelHealth:
    """Models for health checks: `models/NAME` for production, `models/NAME@ALIAS` for others."""

    def __init__(self, readiness: ModelReadiness) -> None:
        self._readiness = readiness

    def covers(self, name: str) -> bool:
        return name.startswith(PREFIX)

    async def all(self) -> dict[str, bool]:
        """Whether each model that there is something to say about can predict."""
        return {PREFIX + one.model.removesuffix(f"@{PRODUCTION}"): one.ready for one in await self._readiness.all()}

    async def works(self, name: str) -> bool | None:
        """Whether a model can predict; None if there is none of the name."""
        try:
            return (await self._readiness.of(name.removeprefix(PREFIX))).ready
        except (ModelNotFound, InvalidField):
            return None

    async def news(self, within: float) -> None:
        """Returns when another version predicts for some name, or after so many seconds."""
        with self._readiness.watching() as news, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await news.wait()
