"""What files of models are, told by their bytes; and that reading them runs nothing that a stranger wrote."""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import safetensors.numpy
import skops.io
from imported_models import (
    IRIS,
    SPECIES,
    Canary,
    as_onnx,
    as_skops,
    classifier,
    linear_graph,
    with_hidden_outside_data,
    with_outside_data,
    zipped,
)
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from modelwire_runners import RunContext
from modelwire_runners.invoke import run_predict
from modelwire_server.errors import ContentTooLarge, InvalidField, ModelNotLoadable, ModelwireError, UntrustedContent
from modelwire_server.formats.library import LIBRARY_RUNNER
from modelwire_server.formats.model import Format
from modelwire_server.formats.onnx_files import read_onnx
from modelwire_server.formats.recognition import format_of
from modelwire_server.formats.skops_files import read_skops
from modelwire_server.formats.tensors import read_safetensors


def loaded(content: Any) -> Any:
    return LIBRARY_RUNNER.on_load(None, content)  # type: ignore[arg-type]


def skops_model(model: Any) -> Any:
    return loaded(read_skops(io.BytesIO(as_skops(model)), granted=False))


def onnx_model(content: bytes) -> Any:
    return loaded(read_onnx(io.BytesIO(content)))


def predicted(model: Any, rows: Any) -> pa.Table:
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows, preserve_index=False)
    return run_predict(LIBRARY_RUNNER, {}, model, table.slice(0, 0), table, None, RunContext())


def test_a_format_is_told_by_the_bytes(tmp_path: Path) -> None:
    files = {
        Format.SKOPS: as_skops(classifier()),
        Format.ONNX: as_onnx(classifier()),
        Format.SAFETENSORS: safetensors.numpy.save({"w": np.ones(3)}),
        Format.CLOUDPICKLE: Canary(tmp_path / "canary").predicting(),
        None: b"just some text",
    }
    for wanted, content in files.items():
        path = tmp_path / "model.onnx"
        path.write_bytes(content)
        assert format_of(path) is wanted


def test_no_disguise_is_taken_for_a_format_whose_reader_runs_it(tmp_path: Path) -> None:
    canary, path = Canary(tmp_path / "canary"), tmp_path / "file"
    readers = {
        Format.SKOPS: lambda file: read_skops(file, granted=False),
        Format.ONNX: read_onnx,
        Format.SAFETENSORS: read_safetensors,
    }
    unread = []
    for name, content in canary.disguises().items():
        path.write_bytes(content)
        found = format_of(path)
        for reader in readers.values():
            with path.open("rb") as file:
                try:
                    loaded(reader(file))  # type: ignore[operator]
                except ModelwireError:
                    unread.append(name)
        assert not canary.is_dead, name
        assert found in (None, *readers, Format.CLOUDPICKLE)
    assert set(unread) == set(canary.disguises())


@pytest.mark.parametrize(
    "name", ["skops with os.system", "skops with eval", "skops with a type by reduce", "skops with an operator"]
)
def test_skops_names_what_it_does_not_trust(tmp_path: Path, name: str) -> None:
    canary = Canary(tmp_path / "canary")
    with pytest.raises((UntrustedContent, ModelNotLoadable)) as refusal:
        read_skops(io.BytesIO(canary.disguises()[name]), granted=False)
    assert not canary.is_dead
    if isinstance(refusal.value, UntrustedContent):
        assert "system" in str(refusal.value) or "eval" in str(refusal.value)


@pytest.mark.parametrize(
    "model",
    [
        classifier(),
        DecisionTreeClassifier().fit(IRIS, SPECIES),
        RandomForestClassifier(5, n_jobs=-1).fit(IRIS, SPECIES),
        GradientBoostingClassifier(n_estimators=5).fit(IRIS, SPECIES),
        GradientBoostingClassifier(n_estimators=5).fit(IRIS, SPECIES > 0),
        HistGradientBoostingClassifier(max_iter=5, categorical_features=[0]).fit(IRIS.assign(sepal_length=SPECIES), SPECIES > 0),
        SVC().fit(IRIS, SPECIES),
        KNeighborsClassifier().fit(IRIS, SPECIES),
        KNeighborsClassifier(metric="manhattan", algorithm="ball_tree").fit(IRIS, SPECIES),
    ],
    ids=lambda model: type(model).__name__,
)
def test_estimators_predict_as_they_did(model: Any) -> None:
    read = skops_model(model)
    table = predicted(read, IRIS)
    assert (table["prediction"].to_numpy() == model.predict(IRIS)).all()
    assert [name for name, _ in read.inputs] == list(IRIS.columns)
    if hasattr(model, "predict_proba"):
        probabilities = model.predict_proba(IRIS)
        assert np.allclose(table["confidence"], probabilities.max(axis=1))
        assert np.allclose(table[f"probability_{model.classes_[1]}"], probabilities[:, 1])


def test_a_regressor_has_no_confidence() -> None:
    model = GradientBoostingRegressor(n_estimators=3).fit(IRIS, SPECIES)
    table = predicted(skops_model(model), IRIS)
    assert table.column_names == ["prediction"]
    assert np.allclose(table["prediction"], model.predict(IRIS))


def test_several_targets_are_several_columns() -> None:
    model = LinearRegression().fit(IRIS[["sepal_length", "sepal_width"]], IRIS[["petal_length", "petal_width"]])
    assert predicted(skops_model(model), IRIS[["sepal_length", "sepal_width"]]).column_names == ["prediction_0", "prediction_1"]


def test_columns_of_text_go_to_the_model_as_they_are() -> None:
    frame = IRIS.assign(colour=np.where(SPECIES == 0, "red", "blue"))
    encode = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
    model = make_pipeline(encode, LogisticRegression(max_iter=1000)).fit(frame, SPECIES)
    read = skops_model(model)
    backwards = frame[frame.columns[::-1]]
    assert (predicted(read, backwards)["prediction"].to_numpy() == model.predict(frame)).all()
    assert dict(read.inputs)["colour"] == "null"
    with pytest.raises(InvalidField, match=r"future\.colour: is missing"):
        predicted(read, IRIS)


def test_texts_are_one_column() -> None:
    texts = ["good day", "bad day", "good night", "bad night"]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [1, 0, 1, 0])
    table = pa.table({"text": ["a good one", "a bad one"]})
    assert predicted(skops_model(model), table)["prediction"].to_pylist() == [1, 0]


def test_a_vectorizer_that_reads_files_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the secret word")
    model = make_pipeline(TfidfVectorizer(input="filename"), LogisticRegression()).fit([str(secret)] * 2, [0, 1])
    with pytest.raises(UntrustedContent, match="reads files of this machine"):
        skops_model(model)


def test_a_matrix_of_other_width_is_refused() -> None:
    model = LogisticRegression(max_iter=1000).fit(IRIS.to_numpy(), SPECIES)
    read = skops_model(model)
    assert (predicted(read, IRIS)["prediction"].to_numpy() == model.predict(IRIS.to_numpy())).all()
    with pytest.raises(InvalidField, match="has 3 columns, and the model was made with 4"):
        predicted(read, IRIS[IRIS.columns[:3]])


def broken_tree(change: Any) -> Any:
    """A fitted tree whose nodes were changed."""
    model = DecisionTreeClassifier(max_depth=2).fit(IRIS, SPECIES)
    state = model.tree_.__getstate__()
    state["nodes"] = state["nodes"].copy()
    change(state["nodes"])
    model.tree_.__setstate__(state)
    return model


def test_trees_that_point_nowhere_are_refused() -> None:
    def child(nodes: Any) -> None:
        nodes["left_child"][0] = 1_000_000

    def cycle(nodes: Any) -> None:
        nodes["right_child"][0] = 0

    def column(nodes: Any) -> None:
        nodes["feature"][0] = 4

    for change in (child, cycle, column):
        content = as_skops(broken_tree(change))
        with pytest.raises(ModelNotLoadable, match="point to nowhere"):
            read_skops(io.BytesIO(content), granted=False)


def test_a_small_file_does_not_unpack_to_anything() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * (100 << 20))
    with pytest.raises(ContentTooLarge, match="unpacks to"):
        read_skops(packed, granted=False)


def test_types_of_others_need_a_grant() -> None:
    class Own(GaussianNB):
        pass

    Own.__module__, Own.__qualname__ = __name__, "Own"
    content = skops.io.dumps(Own().fit(IRIS, SPECIES))
    with pytest.raises(UntrustedContent, match=r"Own"):
        read_skops(io.BytesIO(content), granted=False)


@pytest.mark.parametrize("zipmap", [False, True])
def test_graphs_predict_as_the_model_did(zipmap: bool) -> None:
    model = classifier()
    table = predicted(onnx_model(as_onnx(model, zipmap=zipmap)), IRIS)
    assert table["prediction"].to_pylist() == model.predict(IRIS).tolist()
    assert np.allclose(table["probability_2"], model.predict_proba(IRIS)[:, 2], atol=1e-5)
    assert table.column_names == ["prediction", "confidence", "probability_0", "probability_1", "probability_2"]


def test_a_graph_may_name_its_columns() -> None:
    read = onnx_model(linear_graph([1.0, 10.0], features='["b", "a"]'))
    assert read.inputs == [("b", "double"), ("a", "double")]
    table = pa.table({"a": [1.0], "b": [2.0], "c": ["more"]}).select(["b", "a"])
    assert predicted(read, table)["prediction"].to_pylist() == [12.0]


def test_a_graph_of_columns_takes_each_by_name() -> None:
    frame = IRIS[["sepal_width"]].assign(colour=np.where(SPECIES == 0, "red", "blue"))
    encode = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
    model = make_pipeline(encode, LogisticRegression()).fit(frame, SPECIES)
    content = as_onnx(model, columns={"sepal_width": FloatTensorType, "colour": StringTensorType})
    read = onnx_model(content)
    assert dict(read.inputs) == {"sepal_width": "double", "colour": "string"}
    assert predicted(read, frame[["colour", "sepal_width"]])["prediction"].to_pylist() == model.predict(frame).tolist()
    with pytest.raises(InvalidField, match="colour"):
        predicted(read, frame[["sepal_width"]])


@pytest.mark.parametrize("made", [with_outside_data, with_hidden_outside_data])
def test_a_graph_does_not_read_other_files(tmp_path: Path, made: Any) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(struct.pack("<4f", 1, 2, 3, 4))
    with pytest.raises(UntrustedContent, match="other files"):
        read_onnx(io.BytesIO(made(str(secret))))


def test_weights_alone_are_no_model() -> None:
    with pytest.raises(ModelNotLoadable, match="name the runner"):
        loaded(read_safetensors(io.BytesIO(safetensors.numpy.save({"w": np.ones(3)}))))


@pytest.mark.parametrize("content", [b"", b"\x08\x08 no graph", zipped({"schema.json": b"{}"}), zipped({"schema.json": b"[1"})])
def test_what_cannot_be_read_says_so(content: bytes) -> None:
    for reader in (lambda file: read_skops(file, granted=False), read_onnx, read_safetensors):
        with pytest.raises(ModelNotLoadable, match="the file"):
            reader(io.BytesIO(content))  # type: ignore[operator]
