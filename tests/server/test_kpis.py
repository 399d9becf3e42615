"""What scores of predictions are, compared with those of scikit-learn."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics

from modelwire_runners.mixed import mixed_array
from modelwire_server.scoring.kpis import NotComparable, kpis, likeliest

RANDOM = np.random.default_rng(1)


def scored(truth: Any, predicted: Any) -> dict[str, float]:
    return kpis(pa.chunked_array([pa.array(truth)]), pa.chunked_array([pa.array(predicted)]))


def test_classes_are_scored_as_scikit_learn_does() -> None:
    truth, predicted = RANDOM.choice(["a", "b", "c"], 200).tolist(), RANDOM.choice(["a", "b", "d"], 200).tolist()
    known = metrics.precision_recall_fscore_support(truth, predicted, average="macro", zero_division=0)
    assert scored(truth, predicted) == pytest.approx(
        {"accuracy": metrics.accuracy_score(truth, predicted), "precision": known[0], "recall": known[1], "f1": known[2]}
    )


def test_numbers_are_scored_as_scikit_learn_does() -> None:
    truth = RANDOM.normal(size=100)
    predicted = truth + RANDOM.normal(size=100) / 3
    assert scored(truth, predicted) == pytest.approx(
        {
            "r2": metrics.r2_score(truth, predicted),
            "mae": metrics.mean_absolute_error(truth, predicted),
            "rmse": metrics.root_mean_squared_error(truth, predicted),
        }
    )


def test_whole_numbers_are_scored_both_ways() -> None:
    assert scored([0, 1, 1, 2], [0.0, 1.0, 2.0, 2.0]) == pytest.approx(
        {"r2": 0.5, "mae": 0.25, "rmse": 0.5, "accuracy": 0.75, "precision": 2.5 / 3, "recall": 2.5 / 3, "f1": (1 + 4 / 3) / 3}
    )


def test_without_spread_there_is_no_r2() -> None:
    assert scored([1.5, 1.5], [1.0, 2.0]) == {"mae": 0.5, "rmse": 0.5}


@pytest.mark.parametrize(
    ("truth", "predicted"),
    [
        ([True, False], [1, 0]),
        ([True, False], [1.0, 0.0]),
        (["1", "0"], [1, 0]),
        (pa.array(["x", "y"]).dictionary_encode(), ["x", "y"]),
        (mixed_array(["x", 1]), ["x", "1"]),
    ],
    ids=["booleans", "booleans as floats", "texts of numbers", "categories", "mixed"],
)
def test_classes_may_be_written_in_other_types(truth: Any, predicted: Any) -> None:
    assert scored(truth, predicted)["accuracy"] == 1.0


def test_what_is_no_value_is_not_compared() -> None:
    with pytest.raises(NotComparable, match="list"):
        scored([[1], [2]], ["a", "b"])


def test_the_likeliest_class_is_the_column_with_the_highest_value() -> None:
    columns = {"a": pa.chunked_array([[0.1, 0.9]]), "b": pa.chunked_array([[0.8, 0.05]]), "c": pa.chunked_array([[0.1, 0.05]])}
    assert likeliest(columns).to_pylist() == ["b", "a"]
