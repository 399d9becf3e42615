"""The client and the real server, together."""

import asyncio
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from modelwire import (
    Artifact,
    ArtifactEvent,
    AsyncClient,
    Client,
    DeadlineExceeded,
    FailedPrecondition,
    HealthStatus,
    InvalidArgument,
    JobCanceled,
    JobFailed,
    LogEvent,
    MetricEvent,
    Model,
    ModelwireError,
    NotFound,
    ProgressEvent,
    StateEvent,
)

DATA = {"x": [1.0, 2.0], "y": [2.0, 4.0]}


def test_health(client: Client) -> None:
    assert client.health() is HealthStatus.SERVING
    assert client.health("modelwire.v1.TrainService") is HealthStatus.SERVING
    with pytest.raises(NotFound):
        client.health("nothing")


def test_runners(client: Client) -> None:
    (info,) = client.runners.list()
    runner = client.runners.get()
    assert (info.id, runner.id, runner.frame_library) == ("line", "line", "pandas")
    assert runner.config_schema["properties"]["slope"]["default"] == 2
    assert client.configs.schema() == runner.config_schema
    assert runner.level_labels[0] == "ml_training"
    with pytest.raises(NotFound) as caught:
        client.runners.get("nothing")
    assert caught.value.reason == "RUNNER_NOT_FOUND"


def test_configs(client: Client) -> None:
    config = client.configs.create("v1", {"slope": 1.5, "extra": {"deep": [1, None, "a"]}}, tags=["a", "b"])
    assert config.data["slope"] == 1.5
    assert config.data["extra"] == {"deep": [1, None, "a"]}
    assert config.data["prediction_periods"] == 3
    assert isinstance(config.data["prediction_periods"], int)
    assert client.configs.get(config.id) == config
    assert [found.id for found in client.configs.list(tags=["a"])] == [config.id]
    changed = config.update(data={"slope": 4})
    assert (changed.name, changed.data["slope"], changed.tags) == ("v1", 4, ("a", "b"))
    assert client.configs.count() >= 1
    config.delete()
    with pytest.raises(NotFound) as caught:
        client.configs.get(config.id)
    assert caught.value.reason == "CONFIG_NOT_FOUND"


def test_a_config_that_does_not_fit(client: Client) -> None:
    with pytest.raises(InvalidArgument) as caught:
        client.configs.create("v1", {"slope": "steep", "steps": "many"})
    assert caught.value.reason == "INVALID_CONFIG"
    assert {violation.field for violation in caught.value.violations} == {"data.slope", "data.steps"}
    assert "data.steps" in str(caught.value)


def test_training_tells_what_happens(client: Client) -> None:
    config = client.configs.create("steps", {"steps": 4})
    job = client.train(config, pd.DataFrame(DATA))
    events = list(job.watch())
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.fraction for event in events if isinstance(event, ProgressEvent)] == [0.25, 0.5, 0.75, 1.0]
    assert [(event.value, event.step) for event in events if isinstance(event, MetricEvent)][1] == (0.5, 1)
    assert "step 3" in [event.text for event in events if isinstance(event, LogEvent)]
    assert [event.artifact_id for event in events if isinstance(event, ArtifactEvent)] == [job.artifact_id]
    assert [event.status for event in events if isinstance(event, StateEvent)][-1] == "completed"
    assert job.status == "completed"
    assert list(job.watch(after=events[-3].sequence)) == events[-2:]
    model = job.wait()
    assert isinstance(model, Model)
    assert model.config().id == config.id
    assert [found.id for found in config.artifacts()] == [model.id]


def test_predictions_in_the_kind_of_the_question(model: Model) -> None:
    future = pd.DataFrame({"x": [1.0, 2.0, 3.0]}, index=[7, 8, 9])
    predicted = model.predict(future)
    assert isinstance(predicted, pd.DataFrame)
    assert future.assign(y=predicted["y"])["y"].tolist() == [3.0, 6.0, 9.0]
    polars = model.predict(pl.from_pandas(future))
    assert isinstance(polars, pl.DataFrame)
    assert polars["y"].to_list() == [3.0, 6.0, 9.0]
    assert model.predict([{"x": 5.0}]).to_pydict() == {"y": [15.0]}


def test_large_frames_there_and_back(client: Client, model: Model) -> None:
    frame = pa.table({"x": np.arange(1_000_000, dtype=float), "text": pa.array(["word"] * 1_000_000)})
    assert model.predict(frame)["y"].equals(pa.chunked_array([np.arange(1_000_000) * 3.0]))
    trained = client.train(client.configs.create("large"), frame).wait(timeout=60)
    assert trained.predict({"x": [1.0]}).to_pydict() == {"y": [2.0]}
    dataset = client.datasets.upload(frame)
    assert dataset.frame().equals(frame)
    assert dataset.content_size is not None
    assert dataset.content_size > 10_000_000


@pytest.mark.parametrize(
    "index", [range(7, 400_007), pd.date_range("2001-01-01", periods=400_000, freq="h")], ids=["range", "times"]
)
def test_large_pandas_frames_keep_their_index(client: Client, model: Model, index: Any) -> None:
    frame = pd.DataFrame({"x": np.arange(400_000.0)}, index=index)
    predicted = model.predict(frame)
    assert predicted.index.equals(frame.index)
    assert (predicted["y"] == frame["x"] * 3.0).all()


def test_large_frames_among_many_predictions(client: Client, model: Model) -> None:
    x = pa.chunked_array([pa.array(np.zeros(400_000)), pa.array([None], pa.float64())])
    answers = list(client.predict_many(model, [{"x": x}, {"z": np.zeros(400_000)}, {"x": [2.0]}], errors="return"))
    assert len(answers[0]) == 400_001
    assert isinstance(answers[1], ModelwireError)
    assert answers[2]["y"].to_pylist() == [6.0]


def test_many_predictions_over_one_stream(client: Client, model: Model) -> None:
    futures: list[Any] = [{"x": [float(n)]} for n in range(50)]
    futures[20] = {"z": [1.0]}
    answers = list(client.predict_many(model, futures, errors="return"))
    assert isinstance(answers.pop(20), Exception)
    assert [answer["y"][0].as_py() for answer in answers] == [3.0 * n for n in range(50) if n != 20]


def test_predictions_that_are_kept(client: Client, model: Model) -> None:
    job = model.submit_prediction(pd.DataFrame({"x": [1.0, 2.0]}), tags=["kept"])
    prediction = job.wait(timeout=60)
    assert isinstance(prediction, Artifact)
    assert (prediction.type, prediction.parent_id, prediction.level) == ("ml_prediction", model.id, 1)
    assert prediction.frame("pandas")["y"].tolist() == [3.0, 6.0]
    assert prediction.frame("polars")["y"].to_list() == [3.0, 6.0]
    assert prediction.frame()["y"].to_pylist() == [3.0, 6.0]
    assert prediction.id in [child.id for child in model.tree().children]
    assert client.artifacts.expand(prediction.id).level_label == "ml_prediction"
    with pytest.raises(FailedPrecondition):
        client.models.get(prediction.id)


def test_failed_and_canceled_jobs(client: Client) -> None:
    with pytest.raises(JobFailed, match="ValueError: the data are not good enough") as caught:
        client.train(client.configs.create("fails", {"fails": True}), DATA).wait(timeout=60)
    assert caught.value.reason == "RUNNER_FAILED"
    assert "line.py" in caught.value.traceback

    lasting = client.configs.create("lasts", {"lasts": 600})
    job = client.train(lasting, DATA)
    with pytest.raises(DeadlineExceeded, match="it goes on"):
        job.wait(timeout=0.3)
    job.cancel("enough")
    with pytest.raises(JobCanceled):
        job.wait(timeout=30)
    assert job.id in [found.id for found in client.jobs.list(status="canceled", config=lasting.id)]

    job = client.train(lasting, DATA)
    with pytest.raises(DeadlineExceeded, match="it is being canceled"):
        job.wait(timeout=0.3, cancel_on_timeout=True)
    assert list(client.jobs.watch(job.id))[-1].status == "canceled"  # type: ignore[attr-defined]
    job.delete()
    with pytest.raises(NotFound):
        client.jobs.get(job.id)


def test_content_there_and_back(client: Client, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "content").write_bytes(content)
    artifact = client.artifacts.upload(tmp_path / "content", type="report", metadata={"pages": 3}, tags=["report"])
    assert (artifact.type, artifact.content_size, artifact.metadata) == ("report", 3_000_000, {"pages": 3})
    assert artifact.download() == content
    assert artifact.download(tmp_path / "again").read_bytes() == content
    assert artifact.download(tmp_path).parent == tmp_path
    note = client.artifacts.create("note", {"text": "good", "n": 1}, parent=artifact.id)
    assert client.artifacts.get(note.id).content == {"text": "good", "n": 1}
    assert client.artifacts.update(note.id, parent="", tags=["free"]).parent_id is None
    assert client.artifacts.metadata(artifact.id) == {"pages": 3}
    assert [found.id for found in client.artifacts.list(tags=["report"])] == [artifact.id]
    artifact.delete()
    assert client.artifacts.get(note.id).id == note.id


def test_sample_data_and_validation(client: Client) -> None:
    config = client.configs.create("sample")
    sample = client.runners.sample_data(config=config, num_locations=2, num_periods=10, seed=1, frames="pandas")
    assert len(sample.data) == 20
    assert client.runners.sample_data(config=config, num_locations=2, num_periods=10, seed=1).data.num_rows == 20
    assert client.runners.validate_training(config, sample.data)
    assert not client.runners.validate_training(config, sample.data.head(0))


def test_everything_on_asyncio(target: str, tmp_path: Path) -> None:
    async def work(client: AsyncClient) -> None:
        config = await client.configs.create("async", {"slope": 5, "steps": 2}, tags=["async"])
        job = await client.train(config, DATA)
        seen = [event.sequence async for event in job.watch()]
        assert seen == list(range(1, len(seen) + 1))
        model = await job.wait()
        assert (await client.models.get(model.id)) == model
        assert (await model.config()).id == config.id
        predicted = await asyncio.gather(*(model.predict({"x": [float(n)]}) for n in range(20)))
        assert [answer["y"][0].as_py() for answer in predicted] == [5.0 * n for n in range(20)]
        many = client.predict_many(model, [{"x": [float(n)]} for n in range(5)])
        assert [answer["y"][0].as_py() async for answer in many] == [5.0 * n for n in range(5)]
        large = pd.DataFrame({"x": np.arange(300_000.0)})
        assert (await model.predict(large))["y"].iloc[-1] == 299_999 * 5.0
        kept = await (await model.submit_prediction(large)).wait()
        assert len(await kept.frame("pandas")) == 300_000
        assert kept.id in [child.id for child in (await model.tree()).children]

    async def manage(client: AsyncClient) -> None:
        config = await client.configs.create("managed", {"lasts": 600})
        config = await config.update(name="renamed")
        assert [found.name async for found in client.configs.list(name="renamed")] == ["renamed"]
        assert (await client.configs.get(config.id)).data == config.data
        job = await client.train(config, DATA)
        await job.cancel("enough")
        with pytest.raises(JobCanceled):
            await job.wait(timeout=30)
        assert job.id in [found.id async for found in client.jobs.list(config=config.id)]
        await job.delete()
        await config.delete()
        with pytest.raises(NotFound):
            await client.configs.get(config.id)

    async def keep(client: AsyncClient) -> None:
        artifact = await client.artifacts.upload(b"content" * 100_000, type="note", tags=["async"])
        assert (await artifact.download()) == b"content" * 100_000
        assert (await artifact.download(tmp_path / "content")).stat().st_size == 700_000
        note = await client.artifacts.create("note", {"n": 1}, parent=artifact.id, metadata={"m": 2})
        assert (await client.artifacts.get(note.id)).content == {"n": 1}
        assert (await client.artifacts.metadata(note.id)) == {"m": 2}
        assert (await client.artifacts.update(note.id, tags=["async"])).tags == ("async",)
        assert [found.id async for found in client.artifacts.list(tags=["async"], type="note")] == [artifact.id, note.id]
        assert (await client.artifacts.expand(note.id)).level == 1
        await note.delete()
        dataset = await client.datasets.upload(DATA, tags=["async"])
        assert [found.id async for found in client.datasets.list(tags=["async"])] == [dataset.id]
        assert (await (await client.datasets.get(dataset.id)).frame()).to_pydict() == DATA
        await client.datasets.delete(dataset.id)

    async def scenario() -> None:
        async with AsyncClient(target) as client:
            assert await client.health() is HealthStatus.SERVING
            assert (await client.runners.get()).id == (await client.runners.list())[0].id == "line"
            sample = await client.runners.sample_data("predict", seed=1)
            assert sample.future.num_rows > 0
            await asyncio.gather(work(client), manage(client), keep(client))

    asyncio.run(scenario())


def test_models_and_datasets_are_listed_and_deleted(client: Client, model: Model) -> None:
    assert model.id in [found.id for found in client.models.list()]
    assert [found.id for found in client.models.list(tags=["kept"])] == [model.id]
    dataset = client.datasets.upload(pd.DataFrame(DATA), tags=["here"], metadata={"source": "a sensor"})
    assert [found.metadata for found in client.datasets.list(tags=["here"])] == [{"source": "a sensor"}]
    assert client.datasets.get(dataset.id).frame("pandas").equals(pd.DataFrame(DATA))
    before = client.artifacts.count()
    client.datasets.delete(dataset.id)
    assert client.artifacts.count() == before - 1
    config = client.configs.create("short", {})
    short = client.train(config, DATA).wait(timeout=60)
    client.configs.unlink(config.id, short.id)
    assert config.artifacts() == ()
    client.configs.link(config.id, short.id)
    assert [linked.id for linked in config.artifacts()] == [short.id]
    client.models.delete(short.id)
    with pytest.raises(NotFound):
        client.models.get(short.id)


def test_progress_is_shown_in_lines_where_there_is_no_terminal(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    client.train(client.configs.create("shown", {"steps": 3}), DATA).wait(timeout=60, progress=True)
    shown = capsys.readouterr()
    assert "33% step 1" in shown.err
    assert "completed" in shown.err
    assert shown.out == ""
