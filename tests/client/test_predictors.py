"""Predictors, and scores of models, from Python."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelwire import AsyncClient, Client, Internal, InvalidArgument, Model, NotFound, PredictOutcome


@pytest.fixture
def counting(words: str) -> Any:
    with Client(words) as client:
        yield client.predictors


def test_predictors_are_listed_and_described(counting: Any) -> None:
    first, second = counting.list()
    assert (first.name, first.version, second.name, second.version) == ("words", "2", "anything", "v1")
    assert first.created_at <= datetime.now(UTC)
    described = counting.get("words")
    assert (described.predict_schema["items"], described.test_predict_input) == ({"type": "string"}, ["two words"])
    assert described.test_score_input == [{"text": "two words", "words": 2}]
    assert (described.readiness.ready, described.readiness.message) == (True, "")
    with pytest.raises(NotFound) as refused:
        counting.get("nobody")
    assert refused.value.reason == "PREDICTOR_NOT_FOUND"


@pytest.mark.parametrize("payload", [None, True, 0, 2**70, 1.5, "text", [], {}, {"a": [1, {"b": None}]}], ids=repr)
def test_a_payload_is_any_json(counting: Any, payload: Any) -> None:
    answer = counting.predict("anything", payload)
    assert (answer, type(answer)) == (payload, type(payload))


def test_arrays_are_payloads(counting: Any) -> None:
    assert counting.predict("anything", {"a": np.array([[1, 2]]), "b": np.float64(0.5)}) == {"a": [[1, 2]], "b": 0.5}


@pytest.mark.parametrize("payload", [{1, 2}, float("nan"), object()], ids=["set", "nan", "object"])
def test_what_json_cannot_say_is_refused_before_it_is_sent(counting: Any, payload: Any) -> None:
    with pytest.raises(InvalidArgument, match="cannot be sent as JSON"):
        counting.predict("anything", payload)


def test_what_is_wrong_with_a_payload_is_told_by_place(counting: Any) -> None:
    with pytest.raises(InvalidArgument) as refused:
        counting.predict("words", ["a", 1])
    assert (refused.value.reason, [one.field for one in refused.value.violations]) == ("INVALID_PAYLOAD", ["data[1]"])
    with pytest.raises(Internal, match="told to fail"):
        counting.predict("words", ["fail"])


def test_each_payload_of_a_batch_has_an_outcome(counting: Any) -> None:
    good, wrong, failed = counting.predict_batch("words", iter([["a b"], [1], ["fail"]]))
    assert (good, good.ok) == (PredictOutcome(prediction=[2]), True)
    assert (wrong.ok, wrong.reason, wrong.fields) == (False, "INVALID_PAYLOAD", ("data[0]",))
    assert (failed.reason, "told to fail" in failed.message) == ("RUNNER_FAILED", True)
    assert counting.predict_batch("words", []) == ()


def test_a_batch_may_be_larger_than_a_call(counting: Any) -> None:
    outcomes = counting.predict_batch("anything", range(2500))
    assert [one.prediction for one in outcomes] == list(range(2500))


def test_scores_have_names(counting: Any) -> None:
    known = [{"text": "a b", "words": 2}, {"text": "a", "words": 3}]
    assert counting.score("words", known) == {"accuracy": 0.5, "texts": 2}
    assert counting.score("anything", known) == {"score": 0.5}


def test_readiness_is_of_one_or_all(counting: Any) -> None:
    assert counting.ready() is True
    assert counting.ready("words") is True
    assert [(one.predictor, one.ready) for one in counting.readiness()] == [("words", True), ("anything", True)]
    with pytest.raises(NotFound):
        counting.ready("nobody")


def test_the_same_for_asyncio(words: str) -> None:
    async def scenario() -> None:
        async with AsyncClient(words) as client:
            assert [one.name for one in await client.predictors.list()] == ["words", "anything"]
            assert await client.predictors.predict("words", ["a b c"]) == [3]
            assert [one.prediction for one in await client.predictors.predict_batch("words", [["a"]])] == [[1]]
            assert await client.predictors.score("words", [{"text": "a", "words": 1}]) == {"accuracy": 1, "texts": 1}
            assert await client.predictors.ready()

    asyncio.run(scenario())


def test_models_are_scored(client: Client, model: Model) -> None:
    scored = client.registry.score(model, pd.DataFrame({"x": [1.0, 2.0], "y": [3.5, 6.5]}), target="y")
    assert (scored.scores["mae"], scored.rows, scored.model_id, scored.model_version) == (0.5, 2, model.id, "")
    client.registry.register("scored", model, alias="production", target="y")
    try:
        named = client.registry.score("scored", {"x": [1.0, 2.0], "y": [3.0, 6.0]}, prediction="y")
        assert (named.scores["r2"], named.model_version) == (1.0, "scored/1")
    finally:
        client.registry.delete("scored")
    with pytest.raises(InvalidArgument) as refused:
        client.registry.score(model, {"x": [1.0]})
    assert [one.field for one in refused.value.violations] == ["target"]


def test_models_are_scored_for_asyncio(target: str, model: Model) -> None:
    async def scenario() -> None:
        async with AsyncClient(target) as client:
            scored = await client.registry.score(model.id, {"x": [1.0, 2.0], "y": [3.0, 6.0]}, target="y")
            assert scored.scores["r2"] == 1.0

    asyncio.run(scenario())
