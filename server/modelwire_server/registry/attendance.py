"""Loads the models that a process is to serve as soon as they are there, and again and again what could not be loaded."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from ..clock import now
from ..errors import ModelNotFound, ModelwireError
from .following import Following
from .model import Resolved
from .succession import Held, Succession

log = structlog.get_logger(__name__)

# Called with each artifact that was loaded.
OnLoaded = Callable[[str], None]

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0


@dataclass(slots=True, kw_only=True)
class Care:
    """How it is going with a model, spelled `name@alias`: why it could not be loaded, how often that was tried in vain, and when it is
    tried again. `tried` is the artifact that was tried last, or loaded; empty if there was none."""

    model: str
    expected: bool = False
    message: str = ""
    failed_attempts: int = 0
    next_attempt_at: datetime | None = None
    tried: str = ""
    pause: float = 0.0
    at_once: bool = True
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Attendance:
    """Takes care of models in this process: of those that are expected always, of others while an alias leads to what cannot be
    loaded. Without start() nothing is loaded before it is asked for."""

    def __init__(self, following: Following, succession: Succession) -> None:
        self._following = following
        self._succession = succession
        self._cares = {model: Care(model=model, expected=True) for model in sorted(following.expected)}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None
        self.on_loaded: OnLoaded = lambda artifact: None

    @property
    def models(self) -> list[str]:
        """Those that are taken care of."""
        return list(self._cares)

    def held(self, model: str) -> Held | None:
        return self._succession.held(model)

    def care(self, model: str) -> Care | None:
        return self._cares.get(model)

    def start(self) -> None:
        self._succession.on_trouble = self._attend
        self._watch = asyncio.create_task(self._tell_of_news(), name="models: news")
        for model in self._cares:
            self._begin(model)

    async def close(self) -> None:
        self._succession.on_trouble = lambda model, wanted, error: None
        tasks = [*self._tasks.values(), *([self._watch] if self._watch else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def try_again(self, name: str = "") -> None:
        """Tries at once what is to be tried again: of one model, or of all."""
        for care in self._cares.values():
            if name in ("", care.model.partition("@")[0]):
                care.at_once = True
                care.news.set()

    def _attend(self, model: str, wanted: Resolved, error: ModelwireError) -> None:
        """Tries again, after a while, to load what an alias leads to."""
        if model in self._cares:
            # It finds out itself.
            return
        care = self._cares[model] = Care(model=model, at_once=False)
        self._failed(care, wanted.artifact_id, error)
        self._begin(model)

    def _begin(self, model: str) -> None:
        task = self._tasks[model] = asyncio.create_task(self._see_to(self._cares[model]), name=f"models: {model}")
        task.add_done_callback(lambda _: self._tasks.pop(model, None))

    async def _tell_of_news(self) -> None:
        with self._following.watching() as news:
            while True:
                await news.wait()
                news.clear()
                for care in self._cares.values():
                    care.news.set()

    async def _see_to(self, care: Care) -> None:
        while care.expected or care.failed_attempts:
            await self._until_due(care)
            await self._attempt(care)
        del self._cares[care.model]

    async def _attempt(self, care: Care) -> None:
        care.at_once = False
        try:
            found = await self._succession.take(care.model, anew=True)
        except ModelNotFound as error:
            self._missing(care, error)
        except ModelwireError as error:
            self._failed(care, await self._target(care), error)
        else:
            self._loaded(care, found)

    def _missing(self, care: Care, error: ModelNotFound) -> None:
        if care.expected:
            log.warning("model is not available", model=care.model, why=error.message)
        care.message, care.failed_attempts, care.next_attempt_at, care.tried, care.pause = error.message, 0, None, "", 0.0

    def _failed(self, care: Care, tried: str, error: ModelwireError) -> None:
        seconds = _note_failure(care, tried, error)
        what = "a newer version of a model" if self.held(care.model) else "model"
        log.warning(f"{what} is not available", model=care.model, why=error.message, again_in=round(seconds, 1))

    def _loaded(self, care: Care, found: Resolved) -> None:
        if care.tried != found.artifact_id or care.failed_attempts:
            log.info("model is available", model=care.model, version=found.version)
        care.message, care.failed_attempts, care.next_attempt_at = "", 0, None
        care.tried, care.pause = found.artifact_id, 0.0
        self.on_loaded(found.artifact_id)

    async def _until_due(self, care: Care) -> None:
        """Waits until the next attempt: until its time, until somebody asks for it, or until the alias leads elsewhere."""
        while not care.at_once:
            left = None if care.next_attempt_at is None else (care.next_attempt_at - now()).total_seconds()
            try:
                async with asyncio.timeout(left):
                    await care.news.wait()
            except TimeoutError:
                return
            care.news.clear()
            if await self._target(care) != care.tried:
                return

    async def _target(self, care: Care) -> str:
        """The artifact that the alias leads to; empty if there is none, or if nobody can tell now."""
        try:
            found = await self._succession.target(care.model)
        except ModelwireError:
            return ""
        return found.artifact_id if found else ""


def _note_failure(care: Care, tried: str, error: ModelwireError) -> float:
    """What could not be loaded is tried again after a pause, and after a longer one each time; returns the seconds."""
    again = care.pause > 0 and care.tried == tried
    care.pause = min(2 * care.pause, LONGEST_PAUSE_SECONDS) if again else FIRST_PAUSE_SECONDS
    seconds = care.pause * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, hides nothing
    care.failed_attempts = care.failed_attempts + 1 if again else 1
    care.message, care.tried, care.next_attempt_at = error.message, tried, now() + timedelta(seconds=seconds)
    return seconds
