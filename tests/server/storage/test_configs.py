from collections.abc import Callable
from typing import Any

import pytest
from pydantic import Field

from modelwire_runners import BaseConfig
from modelwire_server.artifacts.tree import NewArtifact
from modelwire_server.configs.catalog import complete
from modelwire_server.errors import (
    AlreadyExists,
    AlreadyLinked,
    ArtifactNotFound,
    ConfigNotFound,
    InvalidConfig,
    InvalidField,
    InvalidId,
    NotARoot,
    NotLinked,
    RequestIdReused,
    RunnerNotFound,
)
from modelwire_server.paging import PageRequest

Run = Callable[[Any], None]


class Config(BaseConfig):
    depth: int = 3
    lags: int = Field(default=1, alias="n-lags")


DEFAULTS = {"prediction_periods": 3, "additional_continuous_covariates": [], "depth": 3, "n-lags": 1, "note": "none"}


def test_defaults_are_filled_in_extras_and_nulls_kept_and_aliases_returned(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        created = await storage.configs.create(name="a", data={"n-lags": 4, "extra": {"deep": None}, "note": None})
        assert created.data == {**DEFAULTS, "n-lags": 4, "note": None, "extra": {"deep": None}}
        assert await storage.configs.get(created.id) == created

    with_storage(use)


def test_nested_options_are_lifted_unless_the_key_is_there() -> None:
    data = complete(Config, {"user_option_values": {"depth": 5, "n-lags": 9}, "depth": 7}, "trees")
    assert (data["depth"], data["n-lags"]) == (7, 9)
    assert "user_option_values" not in data


@pytest.mark.parametrize(
    ("fields", "error", "place"),
    [
        ({"name": " "}, InvalidField, "name"),
        ({"name": "n" * 201}, InvalidField, "name"),
        ({"data": {"depth": "deep"}}, InvalidConfig, "data.depth"),
        ({"id": "short"}, InvalidId, "id"),
        ({"tags": ["a", "a", "ä"]}, InvalidField, "tags[1]"),
        ({"tags": [f"t{n}" for n in range(51)]}, InvalidField, "tags"),
    ],
)
def test_bad_input_names_the_field_and_stores_nothing(
    with_storage: Run, fields: dict[str, Any], error: type[InvalidField], place: str
) -> None:
    async def use(storage: Any) -> None:
        with pytest.raises(error) as refusal:
            await storage.configs.create(**{"name": "a", "data": {}, **fields})
        assert refusal.value.violations[0].field == place
        assert await storage.configs.count() == 0

    with_storage(use)


def test_unknown_runner_and_unknown_config(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        with pytest.raises(RunnerNotFound, match="trees"):
            await storage.configs.create(name="a", data={}, runner_id="bushes")
        with pytest.raises(ConfigNotFound):
            await storage.configs.get("01ARZ3NDEKTSV4RRFFQ69G5FAV")
        with pytest.raises(ConfigNotFound):
            await storage.configs.delete("01ARZ3NDEKTSV4RRFFQ69G5FAV")

    with_storage(use)


def test_update_replaces_data_and_keeps_tags_that_are_not_given(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        old = await storage.configs.create(name="a", data={"extra": 1}, tags=["x"])
        new = await storage.configs.update(old.id, name="b", data={"depth": 9})
        assert (new.name, new.data, new.tags) == ("b", {**DEFAULTS, "depth": 9}, ("x",))
        assert new.updated_at > old.updated_at

    with_storage(use)


def test_the_same_request_id_creates_once(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        first = await storage.configs.create(name="a", data={}, request_id="r1")
        assert await storage.configs.create(name="a", data={}, request_id="r1") == first
        assert await storage.configs.count() == 1
        with pytest.raises(RequestIdReused):
            await storage.configs.create(name="b", data={}, request_id="r1")
        with pytest.raises(AlreadyExists):
            await storage.configs.create(name="b", data={}, id=first.id.lower())

    with_storage(use)


def test_pages_follow_each_other_and_filters_hold(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        made = [await storage.configs.create(name=f"c{n}", data={}, tags=["odd"] if n % 2 else []) for n in range(5)]
        seen, token = [], ""
        while True:
            page = await storage.configs.list(PageRequest.of(2, token))
            seen += page.items
            token = page.next_page_token
            assert page.total_size == 5
            if not token:
                break
        assert seen == made
        assert [c.name for c in (await storage.configs.list(tags=["odd"])).items] == ["c1", "c3"]
        assert [c.name for c in (await storage.configs.list(name="c4")).items] == ["c4"]
        assert [c.name for c in (await storage.configs.list(PageRequest.of(2, skip=3))).items] == ["c3", "c4"]

    with_storage(use)


@pytest.mark.parametrize("arguments", [(-1, "", 0), (0, "?", 0), (0, "", -1)])
def test_impossible_pages_are_refused(arguments: tuple[int, str, int]) -> None:
    with pytest.raises(InvalidField):
        PageRequest.of(*arguments)


def test_links_and_the_cascade_of_a_delete(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        config = await storage.configs.create(name="a", data={})
        other = await storage.configs.create(name="b", data={})
        root = await storage.tree.create(NewArtifact(), 1)
        child = await storage.tree.create(NewArtifact(parent_id=root.id), 2)
        await storage.configs.link(config.id, root.id)
        assert await storage.configs.artifacts(config.id) == [root]
        assert (await storage.tree.config_of(child.id)).id == config.id
        with pytest.raises(AlreadyLinked):
            await storage.configs.link(other.id, root.id)
        with pytest.raises(NotARoot):
            await storage.configs.link(config.id, child.id)
        with pytest.raises(ArtifactNotFound):
            await storage.configs.link(config.id, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
        with pytest.raises(NotLinked):
            await storage.configs.unlink(other.id, root.id)
        await storage.configs.delete(config.id)
        assert storage.deleted == [root.id, child.id]
        assert await storage.tree.count() == 0

    with_storage(use)


def test_an_unlinked_artifact_stays(with_storage: Run) -> None:
    async def use(storage: Any) -> None:
        config = await storage.configs.create(name="a", data={})
        root = await storage.tree.create(NewArtifact(), 1)
        await storage.configs.link(config.id, root.id)
        await storage.configs.unlink(config.id, root.id)
        with pytest.raises(NotLinked):
            await storage.tree.config_of(root.id)

    with_storage(use)
