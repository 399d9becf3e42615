"""A classifier that was made elsewhere, deployed and asked as any other."""

from typing import Any

import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

ROWS = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [9.0, 1.0, 8.0, 2.0]})
KINDS = ["bad", "bad", "good", "good"]


@pytest.fixture
def imported(server: Any) -> Any:
    content = skops.io.dumps(LogisticRegression().fit(ROWS, KINDS))
    status, version = server.ask("POST", "/api/v1/models/$import?name=kinds&alias=production&target=kind", content)
    assert (status, version["algorithm"]) == (201, "LogisticRegression")
    return server


def test_it_answers_with_the_highest_class_probability(imported: Any, port: int) -> None:
    expected = LogisticRegression().fit(ROWS, KINDS).predict_proba(ROWS[3:])[0].max()
    status, answer = imported.ask("POST", "/predict", {"model_id": "kinds", "features": {"b": 2, "a": 3}}, port)
    assert (status, answer["prediction"]) == (200, "good")
    assert answer["confidence"] == pytest.approx(expected)


def test_a_missing_feature_is_named(imported: Any, port: int) -> None:
    status, problem = imported.ask("POST", "/predict", {"model_id": "kinds", "features": {"a": 3}}, port)
    assert (status, problem["detail"]) == (422, "Missing required feature: b")


def test_it_is_listed_and_scored(imported: Any, port: int) -> None:
    (listed,) = imported.ask("GET", "/models", port=port)[1]["models"]
    assert (listed["model_id"], listed["algorithm"]) == ("kinds", "LogisticRegression")
    data = {"columns": ["b", "a", "kind"], "data": [[9.0, 0.0, "bad"], [2.0, 3.0, "good"], [2.0, 3.0, "bad"]]}
    status, scored = imported.ask("POST", "/api/v1/models/$score", {"model": "kinds", "data": data}, port)
    assert (status, scored["model_version"], scored["rows"]) == (200, "kinds/1", 3)
    assert scored["scores"]["accuracy"] == pytest.approx(2 / 3)


def test_scoring_tells_what_is_wrong_with_422(imported: Any, port: int) -> None:
    data = {"columns": ["a", "b"], "data": [[1.0, 2.0]]}
    status, problem = imported.ask("POST", "/api/v1/models/$score", {"model": "kinds", "data": data}, port)
    assert (status, problem["errors"][0]["loc"]) == (422, ["body", "data"])
    status, problem = imported.ask("POST", "/api/v1/models/$score", {"model": "nobody", "data": data}, port)
    assert (status, problem["reason"]) == (404, "MODEL_NOT_FOUND")
