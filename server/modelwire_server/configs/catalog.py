"""What can be done with configs."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pydantic

from ..artifacts import store as artifacts
from ..artifacts.model import Artifact
from ..artifacts.tree import in_use
from ..clock import now
from ..database.engine import Database, Transaction
from ..database.once import once
from ..errors import (
    AlreadyExists,
    AlreadyLinked,
    ArtifactNotFound,
    ConfigNotFound,
    FieldViolation,
    InvalidConfig,
    NotARoot,
    NotLinked,
)
from ..paging import Page, PageRequest
from ..rules import check_tags, chosen_id, require
from ..runners import RunnerRegistry
from . import store
from .model import Config

LONGEST_NAME = 200


class ConfigCatalog:
    """Named, validated parameters. `on_deleted` is told the ids of artifacts that were deleted with their config."""

    def __init__(
        self, database: Database, runners: RunnerRegistry, on_deleted: Callable[[Sequence[str]], None] = lambda ids: None
    ) -> None:
        self._database = database
        self._runners = runners
        self._on_deleted = on_deleted

    async def create(
        self,
        *,
        name: str,
        data: dict[str, Any],
        runner_id: str = "",
        id: str = "",
        tags: Sequence[str] = (),
        request_id: str = "",
    ) -> Config:
        """Stores a config with all its defaults. Raises RunnerNotFound, InvalidConfig, InvalidField, InvalidId, AlreadyExists,
        RequestIdReused."""
        runner = self._runners.get(runner_id)
        require([*check_name(name), *check_tags(tags)])
        time = now()
        config = Config(
            id=chosen_id(id),
            runner_id=runner.info.id,
            name=name,
            data=complete(runner.config_schema, data, runner.info.id),
            tags=tuple(tags),
            created_at=time,
            updated_at=time,
        )

        def create(tx: Transaction) -> Config:
            document = [id, runner_id, name, data, list(tags)]
            answer = once(tx, "config.create", request_id, document, lambda: self._insert(tx, config))
            return self._get(tx, answer["id"])

        return await self._database.write(create)

    async def get(self, config_id: str) -> Config:
        """Raises ConfigNotFound."""
        return await self._database.read(lambda tx: self._get(tx, config_id))

    async def list(
        self, page: PageRequest | None = None, *, runner_id: str = "", tags: Sequence[str] = (), name: str = ""
    ) -> Page[Config]:
        """Configs, oldest first."""
        request = page or PageRequest()
        return await self._database.read(lambda tx: store.list_page(tx, request, runner_id=runner_id, tags=tags, name=name))

    async def update(
        self, config_id: str, *, name: str, data: dict[str, Any], tags: Sequence[str] = (), request_id: str = ""
    ) -> Config:
        """Replaces name and data; no tags mean that they stay. Raises ConfigNotFound, InvalidConfig, InvalidField."""
        require([*check_name(name), *check_tags(tags)])
        old = await self.get(config_id)
        completed = complete(self._runners.served(old.runner_id).config_schema, data, old.runner_id)

        def update(tx: Transaction) -> Config:
            document = [config_id, name, data, list(tags)]
            once(tx, "config.update", request_id, document, lambda: self._replace(tx, config_id, name, completed, tags))
            return self._get(tx, config_id)

        return await self._database.write(update)

    async def delete(self, config_id: str, *, request_id: str = "") -> None:
        """Deletes a config and the artifact trees that are linked to it. Raises ConfigNotFound, ModelInUse."""
        answer = await self._database.write(
            lambda tx: once(tx, "config.delete", request_id, config_id, lambda: self._delete(tx, config_id))
        )
        self._on_deleted(answer["artifacts"])

    async def count(self) -> int:
        return await self._database.read(store.count)

    async def artifacts(self, config_id: str) -> Sequence[Artifact]:
        """The root artifacts that are linked to a config; none for an unknown one."""

        def read(tx: Transaction) -> list[Artifact]:
            found = (artifacts.get(tx, root) for root in store.linked_roots(tx, config_id))
            return [artifact for artifact in found if artifact is not None]

        return await self._database.read(read)

    async def link(self, config_id: str, artifact_id: str) -> None:
        """Raises ConfigNotFound, ArtifactNotFound, NotARoot, AlreadyLinked."""
        await self._database.write(lambda tx: self._link(tx, config_id, artifact_id))

    async def unlink(self, config_id: str, artifact_id: str) -> None:
        """Raises NotLinked."""
        if not await self._database.write(lambda tx: store.unlink(tx, config_id, artifact_id)):
            raise NotLinked(f"artifact {artifact_id} is not linked to config {config_id}", artifact=artifact_id, config=config_id)

    def link_made(self, tx: Transaction, config_id: str, artifact_id: str) -> None:
        """Links what a job made, if its config is still there."""
        store.link_if_there(tx, config_id, artifact_id)

    def _get(self, tx: Transaction, config_id: str) -> Config:
        config = store.get(tx, config_id)
        if config is None:
            raise ConfigNotFound(f"Config {config_id} not found", config=config_id)
        return config

    def _insert(self, tx: Transaction, config: Config) -> dict[str, Any]:
        if store.get(tx, config.id) is not None:
            raise AlreadyExists(f"a config with the id {config.id} exists already", id=config.id)
        store.insert(tx, config)
        return {"id": config.id}

    def _replace(self, tx: Transaction, config_id: str, name: str, data: dict[str, Any], tags: Sequence[str]) -> dict[str, Any]:
        old = self._get(tx, config_id)
        store.update(tx, replace(old, name=name, data=data, tags=tuple(tags) or old.tags, updated_at=now()))
        return {"id": config_id}

    def _delete(self, tx: Transaction, config_id: str) -> dict[str, Any]:
        roots = store.linked_roots(tx, config_id)
        for root in roots:
            if names := artifacts.registered(tx, artifacts.path_of(tx, root)):
                raise in_use(names)
        deleted = [gone for root in roots for gone in artifacts.delete_tree(tx, root)]
        if not store.delete(tx, config_id):
            raise ConfigNotFound(f"Config {config_id} not found", config=config_id)
        return {"artifacts": deleted}

    def _link(self, tx: Transaction, config_id: str, artifact_id: str) -> None:
        self._get(tx, config_id)
        artifact = artifacts.get(tx, artifact_id)
        if artifact is None:
            raise ArtifactNotFound(f"Artifact {artifact_id} not found", artifact=artifact_id)
        if artifact.parent_id is not None:
            message = f"Artifact {artifact_id} is not a root artifact (parent_id={artifact.parent_id})"
            raise NotARoot(message, artifact=artifact_id, parent=artifact.parent_id)
        linked = store.config_linked_to(tx, artifact_id)
        if linked is not None:
            raise AlreadyLinked(f"artifact {artifact_id} is linked to config {linked} already", artifact=artifact_id, config=linked)
        store.link(tx, config_id, artifact_id)


def check_name(name: str) -> list[FieldViolation]:
    """What is wrong with a name."""
    if not name.strip():
        return [FieldViolation("name", "must not be empty")]
    if len(name) > LONGEST_NAME:
        return [FieldViolation("name", f"has {len(name)} characters; at most {LONGEST_NAME} are allowed")]
    if "\0" in name:
        return [FieldViolation("name", "holds the character NUL, which no database stores")]
    return []


def complete(schema: type[pydantic.BaseModel], data: dict[str, Any], runner_id: str) -> dict[str, Any]:
    """The data checked against the schema, with all defaults; extra keys and explicit nulls are kept, aliases stay aliases.

    Keys below `user_option_values` are lifted to the top, unless they are there already. Raises InvalidConfig."""
    lifted = dict(data)
    options = lifted.get("user_option_values")
    if isinstance(options, dict):
        del lifted["user_option_values"]
        lifted = {**options, **lifted}
    try:
        return schema.model_validate(lifted).model_dump(mode="json", by_alias=True)
    except pydantic.ValidationError as error:
        violations = [
            FieldViolation(path_of(found["loc"]), found["msg"], found["type"]) for found in error.errors(include_url=False)
        ]
        invalid = InvalidConfig.of(*violations)
        invalid.metadata["runner"] = runner_id
        raise invalid from None


def path_of(location: Sequence[int | str]) -> str:
    """`("a", 0, "b")` as `data.a[0].b`."""
    return "data" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
