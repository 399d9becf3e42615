"""Which models can predict by name in this process: found out by having them predict, never assumed."""

import asyncio
import contextlib
import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog

from ..checkups import Checkups, Finding
from ..clock import now
from ..database.engine import Database
from ..errors import ModelNotFound, ModelNotLoadable, ModelNotReady, ModelwireError
from ..inference.models import ModelCache
from . import store
from .attendance import Attendance
from .following import Following
from .model import PRODUCTION, Resolved, named_by_alias
from .rehearsal import Rehearsal
from .reloading import Reloading

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What was found out about a model, spelled `name@alias`. `version` is the one that predicts, 0 if none does; `message` says why none
    does, or why a newer one does not."""

    model: str
    ready: bool
    expected: bool = False
    version: int = 0
    message: str = ""
    failed_attempts: int = 0
    next_attempt_at: datetime | None = None
    checked_at: datetime | None = None


class ModelReadiness:
    """Checks models when somebody asks. What was found `holds` for so many seconds; a model that takes longer than `timeout` seconds is
    not ready."""

    def __init__(
        self,
        *,
        database: Database,
        following: Following,
        attendance: Attendance,
        reloading: Reloading,
        models: ModelCache,
        rehearsal: Rehearsal,
        holds: float = 10.0,
        timeout: float = 30.0,
    ) -> None:
        self._database = database
        self._following = following
        self._attendance = attendance
        self._reloading = reloading
        self._models = models
        self._rehearsal = rehearsal
        self._checkups = Checkups(silence="it has not predicted", holds=holds, timeout=timeout, on_change=_tell)
        attendance.on_loaded = self._note_loaded

    def start(self) -> None:
        """Begins to load what is expected, and to hear of reloads."""
        self._attendance.start()
        self._reloading.subscribe(self._look_anew)

    async def close(self) -> None:
        await self._attendance.close()
        await self._checkups.close()

    def watching(self) -> AbstractContextManager[asyncio.Event]:
        """An event that is set whenever another version may predict for some name."""
        return self._following.watching(moves=True)

    async def names(self, *, attended: bool = False) -> list[str]:
        """All models that there is something to say about; with `attended` only those that are taken care of."""
        cared = self._attendance.models
        if attended:
            return sorted(cared)
        return sorted({*cared, *await self._database.read(lambda tx: store.aliased(tx, PRODUCTION))})

    async def of(self, name: str, *, patience: float = math.inf) -> Readiness:
        """How it is with a model; after `patience` seconds, how it was before. Raises InvalidField, ModelNotFound."""
        model = named_by_alias(name)
        try:
            version = await self._following.resolve(model)
        except ModelNotReady as error:
            return Readiness(model=model, ready=False, expected=True, message=error.message, checked_at=now())
        except ModelNotFound:
            raise
        except ModelwireError as error:
            return Readiness(model=model, ready=False, expected=self._is_expected(model), message=error.message, checked_at=now())
        found = await self._check(version, patience)
        if found.trouble and self._models.has_failed(version.artifact_id):
            with contextlib.suppress(ModelwireError):
                version = await self._following.instead(model, version, ModelNotLoadable(found.trouble))
                found = await self._check(version, patience)
        return self._told(model, version, found)

    async def all(self, *, attended: bool = False, patience: float = math.inf) -> list[Readiness]:
        """How it is with each of names(). Models that nobody was told to serve are not loaded where others would have to go."""
        found = await asyncio.gather(*(self._of_many(name, patience) for name in await self.names(attended=attended)))
        return [one for one in found if one is not None]

    async def request_reload(self, name: str = "") -> list[Readiness]:
        """Has all processes look for a model, or for all, and tells how it was before. Raises ModelNotFound."""
        expected = [model for model in self._attendance.models if name in ("", model.partition("@")[0])]
        if name and not expected and await self._database.read(lambda tx: store.get(tx, name)) is None:
            raise ModelNotFound(f"there is no model {name}", model=name)
        models = expected if name else await self.names()
        await self._reloading.request(name)
        found = [await self._of_many(model, 0.0) for model in models]
        return [one for one in found if one is not None]

    async def _check(self, version: Resolved, patience: float) -> Finding:
        return await self._checkups.of(version.artifact_id, partial(self._rehearsal.begin, version), patience)

    async def _of_many(self, model: str, patience: float) -> Readiness | None:
        """None if it is gone by now."""
        try:
            if not self._is_expected(model) and (waiting := await self._left_out(model)):
                return waiting
            return await self.of(model, patience=patience)
        except ModelNotFound:
            return None

    async def _left_out(self, model: str) -> Readiness | None:
        version = await self._following.resolve(model)
        try:
            if await self._models.has_room_for(version.artifact_id):
                return None
        except ModelwireError:
            return None
        why = "it is not in memory, where others would have to make room; it is loaded when it is asked for"
        return Readiness(model=model, ready=True, version=_number(version), message=why)

    def _is_expected(self, model: str) -> bool:
        return model in self._following.expected

    def _told(self, model: str, version: Resolved, found: Finding) -> Readiness:
        care = self._attendance.care(model)
        attempts = care.failed_attempts if care else 0
        held = self._attendance.held(model)
        newer = f"{held.wanted.version} cannot be loaded: {care.message}" if care and held and not found.trouble else ""
        return Readiness(
            model=model,
            ready=not found.trouble,
            expected=self._is_expected(model),
            version=0 if found.trouble else _number(version),
            message=found.trouble or newer,
            failed_attempts=attempts,
            next_attempt_at=care.next_attempt_at if care else None,
            checked_at=found.at,
        )

    def _note_loaded(self, artifact: str) -> None:
        self._checkups.forget(artifact)
        self._following.tell_of_moves()

    def _look_anew(self, name: str) -> None:
        self._models.retry_all()
        self._checkups.forget_troubles()
        self._following.notice()
        self._attendance.try_again(name)


def _number(version: Resolved) -> int:
    return int(version.version.partition("/")[2])


def _tell(artifact: str, found: Finding) -> None:
    tell = log.warning if found.trouble else log.info
    tell("model checked", artifact=artifact, ready=not found.trouble, why=found.trouble)
