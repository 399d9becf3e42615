"""A name here that keeps in step with a model in another registry."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import structlog

from ..errors import Exhausted, ModelNotFound, ModelwireError, ShuttingDown, SourceUnavailable, StorageUnavailable
from ..importing.imports import Imports
from ..importing.model import ImportedFile
from ..paging import LARGEST_SIZE, PageRequest
from ..registry.catalog import ModelCatalog
from ..registry.model import ModelVersion
from ..registry.reloading import Reloading
from .mlflow import Found, MLflowSource
from .policy import FollowedModel, Watch
from .store import Claim

log = structlog.get_logger(__name__)

# How often a server that does not follow looks whether the one that does is gone.
CLAIM_SECONDS = 5.0
# What may be otherwise the next time, with the same version.
_PASSING = (ModelNotFound, SourceUnavailable, StorageUnavailable, Exhausted, ShuttingDown)


class Follower:
    """Looks what a model is elsewhere, and makes it a version here: at the start, until the other registry has answered; when somebody
    asks for a reload, until a model is loaded; and again and again if the rules say so. Of all servers on a database one does."""

    def __init__(
        self,
        rules: FollowedModel,
        *,
        source: MLflowSource,
        imports: Imports,
        catalog: ModelCatalog,
        reloading: Reloading,
        claim: Claim,
        folder: Path,
    ) -> None:
        self._rules = rules
        self._source = source
        self._imports = imports
        self._catalog = catalog
        self._reloading = reloading
        self._claim = claim
        self._folder = folder
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stop_hearing: Callable[[], None] = lambda: None
        # Whether a request waits for a model to be loaded.
        self._unanswered = False
        # Whether the other registry has not answered the last time.
        self._is_out_of_reach = False
        # The last version that was looked at, unless the same may fare better the next time, and why it does not serve.
        self._seen: Found | None = None
        self._trouble = ""

    def start(self) -> None:
        self._stop_hearing = self._reloading.subscribe(self._hear)
        self._task = asyncio.create_task(self._follow_for_ever(), name=f"source of {self._rules.name}")

    async def close(self) -> None:
        """Ends it, also in the middle of a download."""
        self._stop_hearing()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _hear(self, name: str) -> None:
        if name in ("", self._rules.name):
            self._asked.set()

    async def _follow_for_ever(self) -> None:
        while True:
            try:
                async with self._alone() as is_alone:
                    if is_alone:
                        await self._follow()
            except Exception:
                log.exception("a model is not followed for a while", model=self._rules.name)
            await asyncio.sleep(CLAIM_SECONDS)

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[bool]:
        """Whether no other process follows; none begins to until the end."""
        try:
            yield await asyncio.to_thread(self._claim.take)
        finally:
            await asyncio.shield(asyncio.to_thread(self._claim.release))

    async def _follow(self) -> None:
        """Looks for as long as this process is the one that may."""
        self._seen = None
        self._unanswered |= self._asked.is_set()
        self._asked.clear()
        while await asyncio.to_thread(self._claim.holds):
            if await self._look():
                self._unanswered = False
            await self._wait()

    async def _wait(self) -> None:
        """Until the next look."""
        looks_again = self._unanswered or self._is_out_of_reach or self._rules.watch is Watch.ALWAYS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._rules.seconds if looks_again else None):
                await self._asked.wait()
        if self._asked.is_set():
            self._asked.clear()
            # Whoever asks wants what was refused to be tried again.
            self._unanswered, self._seen = True, None

    async def _look(self) -> bool:
        """Whether what the other registry has serves here. Says so in the log when that changes, or when somebody waits for it."""
        try:
            found = await self._source.resolve(self._rules.uri)
            if found != self._seen:
                self._seen = found
                await self._serve(found)
            self._is_out_of_reach = False
        except ModelwireError as error:
            self._is_out_of_reach = isinstance(error, SourceUnavailable)
            if isinstance(error, _PASSING):
                self._seen = None
            self._tell(error.message)
        else:
            self._tell(self._trouble)
        return not self._trouble

    def _tell(self, trouble: str) -> None:
        if trouble and (self._unanswered or trouble != self._trouble):
            log.warning("model is not available", model=self._rules.name, source=self._rules.uri, why=trouble)
        self._trouble = trouble

    async def _serve(self, found: Found) -> None:
        """Has the version predict by the name and the alias. Raises ModelwireError."""
        rules = self._rules
        version = await self._imported(found) or await self._import(found)
        await self._catalog.promote(rules.name, str(version.version), rules.alias)
        self._trouble = ""
        log.info("model is loaded", model=f"{version.name}/{version.version}", alias=rules.alias, source=found.source)

    async def _imported(self, found: Found) -> ModelVersion | None:
        """The version that it is already, if it was imported before; a model of the same address may have been deleted meanwhile."""
        try:
            newest = await self._catalog.versions(self._rules.name, PageRequest(LARGEST_SIZE))
        except ModelNotFound:
            return None
        known = (one for one in newest.items if one.facts.source == found.source and one.created_at >= found.created_at)
        return next(known, None)

    async def _import(self, found: Found) -> ModelVersion:
        rules = self._rules
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            fetched = await self._source.fetch(found.source, Path(folder))
            wanted = ImportedFile(name=rules.name, runner_id=rules.runner, grant=rules.grant)
            return await self._imports.import_file(fetched.path, fetched.completed(wanted))
