"""What the page on predictors prints is what happens, and its two composed models are worth something."""

from pathlib import Path

import pytest
from programs import require
from snippets import Reader

from modelwire_runners import Predictor, load_served

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_examples_run_as_printed(tmp_path: Path) -> None:
    require("bash", "curl", "jq")
    with Reader(ROOT, tmp_path) as reader:
        reader.run("source .venv/bin/activate")
        reader.follow(ROOT / "docs" / "predictors.md")


def test_both_models_of_the_example_are_better_than_guessing() -> None:
    cultivar, alcohol = load_served(f"{ROOT / 'examples' / 'predictors.py'}:predictors")
    assert isinstance(cultivar, Predictor)
    assert isinstance(alcohol, Predictor)
    assert cultivar.score(cultivar.test_score_input).values["accuracy"] >= 0.8
    assert alcohol.score(alcohol.test_score_input).values["r2"] > 0.2
