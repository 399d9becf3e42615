"""The commands of predictors against a real server, and scores of models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from modelwire import Client

Run = Callable[..., Result]


@pytest.fixture
def ask(run: Run, words: str) -> Callable[..., Any]:
    """Runs `modelwire predictors ...` and gives the JSON that it printed."""
    return lambda *arguments: json.loads(run("predictors", *arguments, "--target", words, "--json").stdout)


def test_list_and_show(run: Run, ask: Any, words: str) -> None:
    assert [one["name"] for one in ask("list")] == ["words", "anything"]
    assert ask("show", "words")["predict_schema"] == {"type": "array", "items": {"type": "string"}}
    listed = run("predictors", "list", "--target", words).stdout
    assert [line.split()[:3] for line in listed.splitlines()[1:]] == [["words", "2", "yes"], ["anything", "v1", "yes"]]
    assert '["two words"]' in run("predictors", "show", "words", "--target", words).stdout


def test_predict_takes_json_a_file_or_the_test_input(ask: Any, tmp_path: Path) -> None:
    file = tmp_path / "texts.json"
    file.write_text('["a b", "c"]')
    assert ask("predict", "words", '["a b c"]') == [3]
    assert ask("predict", "words", str(file)) == [2, 1]
    assert ask("predict", "words", "--test-input") == [2]


def test_predict_reads_standard_input(run: Run, words: str) -> None:
    found = run("predictors", "predict", "words", "-", "--target", words, stdin='["a b"]')
    assert json.loads(found.stdout) == [2]


def test_a_batch_is_answered_line_by_line(run: Run, words: str, tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text('["a b"]\n\n[1]\n')
    found = run("predictors", "predict", "words", str(file), "--batch", "--target", words, exits=1)
    good, wrong = map(json.loads, found.stdout.splitlines())
    assert (good, wrong["reason"]) == ({"prediction": [2]}, "INVALID_PAYLOAD")
    found = run("predictors", "predict", "words", '[["a"], ["b c"]]', "--batch", "--target", words)
    assert [json.loads(line)["prediction"] for line in found.stdout.splitlines()] == [[1], [2]]


def test_score_prints_all_of_them(run: Run, ask: Any, words: str) -> None:
    assert ask("score", "words", "--test-input") == {"accuracy": 1.0, "texts": 1.0}
    shown = run("predictors", "score", "words", '[{"text": "a", "words": 2}]', "--target", words).stdout
    assert [line.split()[0] for line in shown.splitlines()] == ["SCORE", "accuracy", "texts"]


def test_ready_says_whether_predictors_work(run: Run, ask: Any, words: str) -> None:
    assert [one["ready"] for one in ask("ready")] == [True, True]
    assert "words" in run("predictors", "ready", "words", "--target", words).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["show", "nobody"], 3, "there is no predictor `nobody`"),
        (["predict", "words", "[1"], 2, "[1 is neither a file nor JSON"),
        (["predict", "words"], 2, "there is no PAYLOAD"),
        (["predict", "words", "[1]"], 2, "data[0]"),
        (["predict", "words", "[1]\n[", "--batch"], 2, "line 2 is no JSON"),
        (["predict", "words", '["fail"]'], 1, "told to fail"),
    ],
    ids=["unknown", "no json", "nothing", "against the schema", "a bad line", "the model fails"],
)
def test_mistakes_are_told(run: Run, words: str, arguments: list[str], code: int, told: str) -> None:
    assert told in run("predictors", *arguments, "--target", words, exits=code).stderr


def test_models_are_scored(run: Run, client: Client, tmp_path: Path) -> None:
    config = client.configs.create("scored", runner="odd")
    model = client.train(config, {"x": [1, 2, 3], "y": [2, 4, 6]}).wait()
    rows = tmp_path / "known.csv"
    rows.write_text("x,y\n1,2\n2,5\n")
    found = json.loads(run("models", "score", model.id, str(rows), "--predicts", "y", "--json").stdout)
    assert (found["rows"], found["model_id"]) == (2, model.id)
    assert found["scores"]["mae"] >= 0
    shown = run("models", "score", model.id, str(rows), "--predicts", "y").stdout
    assert "mae" in shown
