"""What can be done with models by name."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from ..artifacts.model import Artifact
from ..artifacts.tree import ArtifactTree
from ..clock import new_id, now
from ..database.engine import Database, Transaction
from ..database.once import once
from ..errors import FieldViolation, ModelInUse, ModelNotFound, NothingToRollBack, PromotionRefused
from ..inference.models import find_model
from ..paging import Page, PageRequest
from ..rules import check_tags, require
from ..runners import RunnerRegistry
from . import store
from .following import Following
from .gate import Finding, Gate
from .gatekeeper import Gatekeeper
from .known import KnownOfTraining
from .model import (
    PRODUCTION,
    VERSION,
    Facts,
    ModelEvent,
    ModelEventKind,
    ModelVersion,
    RegisteredModel,
    Stage,
    check_alias,
    check_name,
    require_named,
)

# An alias remembers so many versions that it pointed to before.
LONGEST_HISTORY = 50
EVENTS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """A trained model that is to get a name and a number. What is not said of `facts` is taken from the training."""

    name: str
    artifact_id: str
    facts: Facts = field(default_factory=Facts)
    description: str = ""
    tags: tuple[str, ...] = ()
    stage: Stage = Stage.NONE
    alias: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Promoted:
    """A model after a promotion, or a try, and what its gate found."""

    model: RegisteredModel
    findings: Sequence[Finding]


class _Moved(Exception):
    """An alias points elsewhere by now."""


class ModelCatalog:
    """Registers models under names, moves aliases, and tells of it."""

    def __init__(
        self,
        *,
        database: Database,
        tree: ArtifactTree,
        runners: RunnerRegistry,
        gatekeeper: Gatekeeper,
        following: Following,
    ) -> None:
        self._database = database
        self._tree = tree
        self._training = KnownOfTraining(database, runners)
        self._gatekeeper = gatekeeper
        self._following = following

    async def register(self, new: NewVersion) -> ModelVersion:
        """Registers a version, and then points an alias to it if one is named; the name comes into being with its first version. Raises
        InvalidField, ModelNotFound, NotAModel, RequestIdReused, and as promote() does."""
        require([*check_name("name", new.name), *check_tags(new.tags), *(check_alias("alias", new.alias) if new.alias else [])])
        artifact = await find_model(self._tree, new.artifact_id)
        return await self._register(new, artifact, new.artifact_id, lambda tx: None)

    async def register_imported(self, new: NewVersion, artifact: Artifact) -> ModelVersion:
        """Registers a version together with its artifact, whose content is stored. Raises as register() does."""
        require([*check_name("name", new.name), *check_tags(new.tags), *(check_alias("alias", new.alias) if new.alias else [])])
        digest = artifact.blob.digest if artifact.blob else ""
        return await self._register(new, artifact, digest, lambda tx: self._tree.insert_made(tx, artifact))

    async def _register(
        self, new: NewVersion, artifact: Artifact, what: str, before: Callable[[Transaction], object]
    ) -> ModelVersion:
        """`what` is the same for a retry, `before` is done in the same transaction."""
        facts = await self._training.facts(artifact, new.facts)
        document = [new.name, what, repr(new.facts), new.description, new.tags, new.stage]

        def insert(tx: Transaction) -> dict[str, Any]:
            before(tx)
            return self._insert(tx, new, facts)

        def register(tx: Transaction) -> ModelVersion:
            store.lock(tx)
            answer = once(tx, "model.register", new.request_id, document, lambda: insert(tx))
            return _version(tx, new.name, str(answer["version"]))

        version = await self._database.write(register)
        self._following.notice()
        if new.alias:
            await self.promote(new.name, str(version.version), new.alias)
            version = await self.version(new.name, str(version.version))
        return version

    async def get(self, name: str) -> RegisteredModel:
        """Raises ModelNotFound."""
        return await self._database.read(lambda tx: store.with_moves(tx, _get(tx, name)))

    async def list(self, page: PageRequest | None = None, *, tags: Sequence[str] = ()) -> Page[RegisteredModel]:
        """Models, oldest first."""
        request = page or PageRequest()

        def list_page(tx: Transaction) -> Page[RegisteredModel]:
            found = store.list_page(tx, request, tags=tags)
            return replace(found, items=[store.with_moves(tx, model) for model in found.items])

        return await self._database.read(list_page)

    async def update(
        self,
        name: str,
        *,
        description: str | None = None,
        tags: Sequence[str] = (),
        gate: Gate | None = None,
        request_id: str = "",
    ) -> RegisteredModel:
        """Changes what is given: None and no tags mean that they stay. Raises ModelNotFound, InvalidField, RequestIdReused; of golden rows
        that are none as Gatekeeper.rows() does."""
        require(check_tags(tags))
        if gate is not None and gate.golden.dataset_id:
            await self._gatekeeper.rows(gate.golden.dataset_id)

        def change(tx: Transaction) -> dict[str, Any]:
            old = _get(tx, name)
            described = old.description if description is None else description
            document = old.gate if gate is None else asdict(gate)
            store.update(tx, old, description=described, tags=tags or old.tags, gate=document)
            return {"sequence": store.tell(tx, ModelEventKind.UPDATED, name)}

        document = [name, description, list(tags), repr(gate)]
        await self._change(lambda tx: once(tx, "model.update", request_id, document, lambda: change(tx))["sequence"])
        return await self.get(name)

    async def delete(self, name: str) -> None:
        """Forgets a name with its versions and aliases. Raises ModelNotFound."""

        def delete(tx: Transaction) -> int:
            store.delete(tx, _get(tx, name))
            return store.tell(tx, ModelEventKind.DELETED, name)

        await self._change(delete, moves=True)

    async def version(self, name: str, version: str) -> ModelVersion:
        """A version by its number, or by an alias. Raises ModelNotFound."""

        return await self._database.read(lambda tx: _version(tx, name, version))

    async def versions(self, name: str, page: PageRequest | None = None, *, stage: Stage = Stage.NONE) -> Page[ModelVersion]:
        """Versions, newest first. Raises ModelNotFound."""
        request = page or PageRequest()
        return await self._database.read(lambda tx: store.list_versions(tx, _get(tx, name), request, stage=stage))

    async def update_version(
        self,
        name: str,
        version: str,
        *,
        description: str | None = None,
        tags: Sequence[str] = (),
        stage: Stage | None = None,
        request_id: str = "",
    ) -> ModelVersion:
        """Changes what is given: None and no tags mean that they stay. Raises ModelNotFound, InvalidField, RequestIdReused."""
        require(check_tags(tags))

        def change(tx: Transaction) -> dict[str, Any]:
            old = _version(tx, name, version)
            described = old.description if description is None else description
            labelled = old.stage if stage is None else stage
            store.update_version(tx, old, description=described, tags=tags or old.tags, stage=labelled)
            return {"sequence": store.tell(tx, ModelEventKind.UPDATED, name, version=old.version)}

        document = [name, version, description, list(tags), stage]
        await self._change(lambda tx: once(tx, "model-version.update", request_id, document, lambda: change(tx))["sequence"])
        return await self.version(name, version)

    async def delete_version(self, name: str, version: str) -> None:
        """Forgets a version that no alias points to. Raises ModelNotFound, ModelInUse."""

        def delete(tx: Transaction) -> int:
            found = _version(tx, name, version)
            if found.aliases:
                pointing = ", ".join(found.aliases)
                message = f"{name}/{found.version} cannot be forgotten while an alias points to it: {pointing}"
                raise ModelInUse(message, model=f"{name}/{found.version}", aliases=pointing)
            store.delete_version(tx, found)
            return store.tell(tx, ModelEventKind.VERSION_DELETED, name, version=found.version)

        await self._change(delete, moves=True)

    async def promote(
        self, name: str, version: str, alias: str = PRODUCTION, *, override: str = "", dry_run: bool = False
    ) -> Promoted:
        """Points an alias to a version, or to where another alias points, if it passes the model's gate. When this returns, no prediction
        is answered from where the alias pointed before. With `dry_run` it is only checked; with `override`, which says why, rules do
        not count. Raises InvalidField, ModelNotFound, PromotionRefused, and what loading raises."""
        require_named("name", name, alias)
        while True:
            model, chosen = await self.get(name), await self.version(name, version)
            current = model.aliases.get(alias, 0)
            before = await self.version(name, str(current)) if current not in (0, chosen.version) else None
            found = await self._gatekeeper.check(Gate.from_json(model.gate), chosen, before)
            broken = [finding for finding in found if not finding.passed]
            if dry_run:
                return Promoted(model, found)
            if broken and not override:
                raise _refused(chosen, alias, broken)
            try:
                await self._change(
                    partial(self._point, name, alias, chosen.version, current, override if broken else ""), moves=True
                )
            except _Moved:
                # Somebody else was faster: it is another version that this one is to be compared with.
                continue
            return Promoted(await self.get(name), found)

    async def roll_back(self, name: str, alias: str = PRODUCTION) -> RegisteredModel:
        """Points an alias to the version before. Raises ModelNotFound, NothingToRollBack, and what loading raises."""
        before = await self._database.read(lambda tx: self._before(tx, name, alias))
        await self._gatekeeper.check(Gate(), before, None)

        def roll_back(tx: Transaction) -> int:
            model, version = _get(tx, name), self._before(tx, name, alias)
            history = store.history_of(tx, model, alias)
            store.point(tx, model, alias, version.version, history[: history.index(version.version)])
            previous = model.aliases.get(alias, 0)
            return store.tell(tx, ModelEventKind.ROLLED_BACK, name, version=version.version, alias=alias, previous=previous)

        await self._change(roll_back, moves=True)
        return await self.get(name)

    async def remove_alias(self, name: str, alias: str) -> None:
        """Raises ModelNotFound."""

        def remove(tx: Transaction) -> int:
            model = _get(tx, name)
            if alias not in model.aliases:
                raise ModelNotFound(f"the model {name} has no alias {alias}", model=f"{name}@{alias}")
            store.remove_alias(tx, model, alias)
            return store.tell(tx, ModelEventKind.ALIAS_REMOVED, name, alias=alias, previous=model.aliases[alias])

        await self._change(remove, moves=True)

    async def watch(self, name: str, after: int, *, heartbeat: float) -> AsyncIterator[ModelEvent | int]:
        """Events after a sequence, then each new one, until the caller has enough; the number of the last event when nothing
        happened for `heartbeat` seconds, and at once if there are no events yet. A sequence of -1 means: only what is new."""
        with self._following.watching() as news:
            last, begun = after if after >= 0 else await self._database.read(store.last_sequence), False
            while True:
                news.clear()
                events = await self._events_after(last, name)
                for event in events:
                    yield event
                    last = event.sequence
                if not (events or begun):
                    yield last
                begun = True
                while len(events) < EVENTS_AT_ONCE and not await _comes(news, within=heartbeat):
                    yield last

    async def _events_after(self, sequence: int, name: str) -> Sequence[ModelEvent]:
        return await self._database.read(lambda tx: store.events_after(tx, sequence, EVENTS_AT_ONCE, name))

    async def _change(self, change: Callable[[Transaction], int], *, moves: bool = False) -> None:
        """Runs a change of the registry, which returns the number of its event. What `moves` where names lead is done once all serving
        processes know."""

        def locked(tx: Transaction) -> int:
            store.lock(tx)
            return change(tx)

        sequence = await self._database.write(locked)
        self._following.notice()
        if moves:
            await self._following.everywhere(sequence)

    def _insert(self, tx: Transaction, new: NewVersion, facts: Facts) -> dict[str, Any]:
        time = now()
        if store.get(tx, new.name) is None:
            store.insert(tx, new.name, time)
        model = _get(tx, new.name)
        number = store.next_version(tx, model)
        version = ModelVersion(
            id=new_id(),
            name=new.name,
            version=number,
            artifact_id=new.artifact_id,
            facts=facts,
            stage=new.stage,
            description=new.description,
            tags=new.tags,
            aliases=(),
            created_at=time,
        )
        store.insert_version(tx, model, version)
        store.tell(tx, ModelEventKind.REGISTERED, new.name, version=number, grant=facts.grant)
        return {"version": number}

    def _point(self, name: str, alias: str, number: int, current: int, override: str, tx: Transaction) -> int:
        model, version = _get(tx, name), _version(tx, name, str(number))
        previous = model.aliases.get(alias, 0)
        if previous != current:
            raise _Moved
        if previous == number:
            return store.last_sequence(tx)
        history = [*store.history_of(tx, model, alias), *([previous] if previous else [])]
        store.point(tx, model, alias, number, history[-LONGEST_HISTORY:])
        about = {"version": version.version, "alias": alias, "previous": previous, "override": override}
        return store.tell(tx, ModelEventKind.PROMOTED, name, **about)

    def _before(self, tx: Transaction, name: str, alias: str) -> ModelVersion:
        """The last version that the alias pointed to before and that is still there."""
        model = _get(tx, name)
        for number in reversed(store.history_of(tx, model, alias)):
            if version := store.get_version(tx, model, number):
                return version
        raise NothingToRollBack(f"the alias {alias} of the model {name} has no version to go back to", model=name, alias=alias)


def _get(tx: Transaction, name: str) -> RegisteredModel:
    model = store.get(tx, name)
    if model is None:
        raise ModelNotFound(f"there is no model {name}", model=name)
    return model


def _version(tx: Transaction, name: str, version: str) -> ModelVersion:
    """A version by its number, or by an alias."""
    model = _get(tx, name)
    number = int(version) if VERSION.fullmatch(version) else model.aliases.get(version, 0)
    found = store.get_version(tx, model, number)
    if found is None:
        raise ModelNotFound(f"the model {name} has no version {version}", model=f"{name}/{version}")
    return found


def _refused(version: ModelVersion, alias: str, broken: Sequence[Finding]) -> PromotionRefused:
    violations = [FieldViolation(finding.rule, finding.message) for finding in broken]
    more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
    message = f"{version.name}/{version.version} does not pass the gate to {alias}: {broken[0].message}{more}"
    rules = ",".join(finding.rule for finding in broken)
    return PromotionRefused(message, violations=violations, model=f"{version.name}/{version.version}", rules=rules)


async def _comes(news: asyncio.Event, within: float) -> bool:
    """Whether it is set before `within` seconds are over."""
    try:
        async with asyncio.timeout(within):
            await news.wait()
    except TimeoutError:
        return False
    return True
