"""Which models are in memory, and how they get there."""

import asyncio
import pickle
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
import structlog

from modelwire_runners import FunctionalModelRunner, RunnerInfo
from modelwire_server.artifacts.blobs.opening import open_blob_store
from modelwire_server.artifacts.model import MODEL_TYPE, PICKLE, Artifact, ArtifactInput, Blob
from modelwire_server.artifacts.tree import ArtifactTree
from modelwire_server.clock import new_id, now
from modelwire_server.database.engine import Database
from modelwire_server.errors import ContentCorrupted, ModelNotFound, ModelNotLoadable
from modelwire_server.inference import models as models_module
from modelwire_server.inference.loading import Loadable
from modelwire_server.inference.models import ModelCache
from modelwire_server.inference.warming import example_of
from modelwire_server.runners import RunnerRegistry
from modelwire_server.signature import Signature

KIB = 1 << 10
SIGNATURE = Signature.of(pa.table({"a": [1.0], "s": ["x"], "y": [0]}), ["y"]).to_json()


class Probe(ModuleType):
    """What contents call while they are loaded, and predict functions while they predict."""

    def __init__(self) -> None:
        super().__init__("probe")
        self.loaded: list[str] = []
        self.predicted: list[Any] = []
        self.at_once, self.most_at_once = 0, 0
        self.open = threading.Event()
        self.open.set()
        self.lock = threading.Lock()

    def load(self, name: str, fails: bool) -> str:
        with self.lock:
            self.loaded.append(name)
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
        assert self.open.wait(10)
        with self.lock:
            self.at_once -= 1
        if fails:
            raise ValueError("no longer")
        return name

    def predict(self, config: Any, model: str, historic: Any, future: pa.Table) -> Any:
        self.predicted.append((model, future.to_pydict()))
        raise ValueError("the rows are made up")


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Probe]:
    probe = Probe()
    monkeypatch.setitem(sys.modules, "probe", probe)
    yield probe
    probe.open.set()


class Shelf:
    """Stored models, and the cache that loads them."""

    def __init__(self, database: Database, blobs: Any, probe: Probe, options: dict[str, Any]) -> None:
        def predict(config: Any, model: Any, historic: pa.Table, future: pa.Table) -> Any:
            return probe.predict(config, model, historic, future)

        async def predict_later(config: Any, model: Any, historic: pa.Table, future: pa.Table) -> Any:
            return probe.predict(config, model, historic, future)

        runners = RunnerRegistry(
            [
                FunctionalModelRunner(lambda config, data: 1, predict, info=RunnerInfo(id="plain")),
                FunctionalModelRunner(lambda config, data: 1, predict, info=RunnerInfo(id="independent"), independent_rows=True),
                FunctionalModelRunner(lambda config, data: 1, predict_later, info=RunnerInfo(id="later"), independent_rows=True),
            ]
        )
        self.database, self.blobs = database, blobs
        self.tree = ArtifactTree(database, blobs, runners.hierarchy)
        self.cache = ModelCache(tree=self.tree, blobs=blobs, runners=runners, **{"max_bytes": 100 * KIB, **options})

    async def model(
        self, name: str = "it", *, fails: bool = False, size: int = 0, id: str = "", runner: str = "plain", **metadata: Any
    ) -> str:
        code = f"__import__('probe').load({name!r}, {fails})"
        content = pickle.dumps(_Call(code, b"\0" * size))
        made = Artifact(
            id=id or new_id(),
            type=MODEL_TYPE,
            content_type=PICKLE,
            blob=await self.blobs.put(content),
            metadata=metadata,
            inputs=(ArtifactInput("job", new_id()),),
            runner_id=runner,
            created_at=now(),
            updated_at=now(),
        )
        await self.database.write(lambda tx: self.tree.insert_made(tx, made))
        return made.id


class _Call:
    """Pickled, it is what the code is evaluated to when it is loaded."""

    def __init__(self, code: str, filling: bytes) -> None:
        self.code, self.filling = code, filling

    def __reduce__(self) -> Any:
        return eval, (self.code, {"filling": self.filling})


Use = Callable[[Shelf], Awaitable[None]]


@pytest.fixture
def at(tmp_path: Path, probe: Probe) -> Callable[..., None]:
    def run(use: Use, **options: Any) -> None:
        async def main() -> None:
            database = await Database.open(f"sqlite:///{tmp_path / 'test.db'}")
            blobs = open_blob_store("", tmp_path, max_bytes=1 << 30, cache_bytes=1 << 24)
            await blobs.open()
            try:
                async with asyncio.timeout(30):
                    await use(Shelf(database, blobs, probe, options))
            finally:
                await blobs.close()
                await database.close()

        asyncio.run(main())

    return run


def test_the_least_recently_used_go_first_and_pinned_ones_never(at: Any, probe: Probe) -> None:
    pinned = new_id()

    async def use(shelf: Shelf) -> None:
        first, second, third = [await shelf.model(name, size=20 * KIB) for name in "abc"]
        await shelf.model("pinned", size=20 * KIB, id=pinned)
        for model in (pinned, first, second, first):
            await shelf.cache.get(model)
        assert len(shelf.cache) == 3
        assert 75 * KIB < shelf.cache.bytes < 80 * KIB
        await shelf.cache.get(third)
        assert [model in shelf.cache for model in (pinned, first, second, third)] == [True, True, False, True]
        big = await shelf.model("big", size=200 * KIB)
        assert (await shelf.cache.get(big)).of() == "big"
        assert [model in shelf.cache for model in (pinned, first, third, big)] == [True, False, False, True]
        assert probe.loaded == ["pinned", "a", "b", "c", "big"]
        assert shelf.cache.loads == 5

    at(use, pinned=[pinned])


def test_pinned_models_are_loaded_at_the_start_as_far_as_they_can_be(at: Any, probe: Probe) -> None:
    good, bad, unknown = new_id(), new_id(), new_id()

    async def use(shelf: Shelf) -> None:
        await shelf.model("good", id=good)
        await shelf.model("bad", id=bad, fails=True)
        with structlog.testing.capture_logs() as logs:
            await shelf.cache.load_pinned()
        assert sorted(probe.loaded) == ["bad", "good"]
        assert good in shelf.cache
        told = {line["model"]: line["error"] for line in logs if line["event"] == "a pinned model cannot be loaded"}
        assert told == {
            bad: "the model cannot be loaded: ValueError: no longer",
            unknown: f"Training artifact {unknown} not found",
        }

    at(use, pinned=[good, bad, unknown])


def test_callers_share_a_load(at: Any, probe: Probe) -> None:
    async def use(shelf: Shelf) -> None:
        model = await shelf.model()
        one, other = await asyncio.gather(shelf.cache.get(model), shelf.cache.get(model))
        assert one is other
        assert probe.loaded == ["it"]

    at(use)


def test_only_so_many_models_are_read_at_once(at: Any, probe: Probe) -> None:
    async def use(shelf: Shelf) -> None:
        models = [await shelf.model(name) for name in "abcdef"]
        probe.open.clear()
        loads = [asyncio.ensure_future(shelf.cache.get(model)) for model in models]
        while len(probe.loaded) < 2:
            await shelf.database.check()
        probe.open.set()
        await asyncio.gather(*loads)
        assert sorted(probe.loaded) == list("abcdef")
        assert probe.most_at_once == 2

    at(use)


def test_a_load_that_failed_is_not_repeated_for_every_call(at: Any, probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(shelf: Shelf) -> None:
        model = await shelf.model(fails=True)
        for _ in range(5):
            with pytest.raises(ModelNotLoadable, match="no longer"):
                await shelf.cache.get(model)
        assert probe.loaded == ["it"]
        # Somebody has mended it, or thinks so.
        shelf.cache.forget(model)
        monkeypatch.setattr(models_module, "_FIRST_PAUSE_SECONDS", 0.0)
        for _ in range(3):
            with pytest.raises(ModelNotLoadable):
                await shelf.cache.get(model)
        assert probe.loaded == ["it"] * 4

    at(use)


def test_damaged_content_is_read_once_and_an_unknown_model_looked_for_again(at: Any, probe: Probe) -> None:
    async def use(shelf: Shelf) -> None:
        model, unknown = await shelf.model(), new_id()
        (await shelf.blobs.local_path((await shelf.tree.get(model)).blob.digest)).chmod(0o600)
        (await shelf.blobs.local_path((await shelf.tree.get(model)).blob.digest)).write_bytes(b"else")
        for _ in range(2):
            with pytest.raises(ContentCorrupted):
                await shelf.cache.get(model)
        with pytest.raises(ModelNotFound):
            await shelf.cache.get(unknown)
        await shelf.model("other", id=unknown)
        assert (await shelf.cache.get(unknown)).of() == "other"

    at(use)


def test_a_model_that_goes_while_it_is_loaded_is_not_kept(at: Any, probe: Probe) -> None:
    async def use(shelf: Shelf) -> None:
        model = await shelf.model()
        probe.open.clear()
        load = asyncio.ensure_future(shelf.cache.get(model))
        while not probe.loaded:
            await shelf.database.check()
        shelf.cache.forget(model)
        probe.open.set()
        assert (await load).of() == "it"
        assert model not in shelf.cache
        await shelf.cache.get(model)
        assert model in shelf.cache

    at(use)


@pytest.mark.parametrize(
    ("runner", "metadata", "warmed"),
    [
        ("independent", {"signature": SIGNATURE}, [("it", {"a": [1.0], "s": [""]})]),
        ("independent", {}, []),
        ("plain", {"signature": SIGNATURE}, []),
        ("later", {"signature": SIGNATURE}, []),
    ],
)
def test_models_predict_once_before_they_are_there(at: Any, probe: Probe, runner: str, metadata: Any, warmed: Any) -> None:
    async def use(shelf: Shelf) -> None:
        told: list[tuple[str, float]] = []
        shelf.cache.on_loaded = lambda model, seconds: told.append((model.artifact_id, seconds))
        model = await shelf.model(runner=runner, **metadata)
        loaded = await shelf.cache.get(model)
        assert probe.predicted == warmed
        assert (loaded.signature is None) is (not metadata)
        assert [one for one, _ in told] == [model]
        assert 0 < told[0][1] < 10

    at(use)


def test_rows_are_made_up_for_any_columns() -> None:
    columns = {
        "color": pa.array(["red", "green"]).dictionary_encode(),
        "number": pa.array([3], pa.uint8()).dictionary_encode(),
        "day": pa.array([0], pa.date32()),
        "time": pa.array([0], pa.timestamp("ns")),
        "zoned": pa.array([0], pa.timestamp("us", "Europe/Paris")),
        "flag": [True],
        "list": [[1]],
    }
    for name, values in columns.items():
        table = pa.table({name: values})
        example = example_of(Signature.of(table, []))
        assert example is not None
        assert example.num_rows == 1
        assert str(example.schema.field(name).type) == str(table.schema.field(name).type)
    assert example_of(Signature.of(pa.table({"struct": [{"a": 1}]}), [])) is None


@pytest.mark.parametrize(
    "report",
    [None, 3, {"passed": False}, {"passed": True, "methods": 3}, {"passed": True, "methods": [3, {"digest": "sha256:0"}]}],
)
def test_metadata_that_anybody_wrote_does_no_harm(at: Any, probe: Probe, report: Any) -> None:
    async def use(shelf: Shelf) -> None:
        loaded = await shelf.cache.get(await shelf.model(compiled=report, signature=report))
        assert loaded.engines == ("runner",)

    at(use)


def test_the_size_in_memory_counts_what_grows() -> None:
    artifact = Artifact(id=new_id(), type=MODEL_TYPE, content_type=PICKLE, created_at=now(), updated_at=now())
    runner: Any = None
    assert Loadable(artifact, runner, Blob("x", 1000)).size == 1250
    assert Loadable(artifact, runner, Blob("x", 1000), (Blob("y", 100), Blob("z", 100))).size == 2850
