"""The model that every server serves, and the rows that it is asked about.

Runs in the environment of every peer too: `python sample.py <columns> <file>` leaves the trained model in a file for joblib.
"""

import sys

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

COLUMNS = 4
TRAINING_ROWS = 600
CLASSES = 3
# The rows that are asked about in turn: an answer that went to the wrong caller is seen.
ASKED = 64


def names(columns: int = COLUMNS) -> list[str]:
    return [f"x{n}" for n in range(columns)]


def inputs(rows: int, columns: int = COLUMNS, seed: int = 0) -> np.ndarray:
    """Rows of doubles of different scales."""
    numbers = np.random.default_rng([seed, columns])
    return numbers.normal(size=(rows, columns)) * np.arange(1, columns + 1) + 5


def training(columns: int = COLUMNS) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and which of three classes each row is in."""
    rows = inputs(TRAINING_ROWS, columns)
    weights = np.random.default_rng(columns).normal(size=(columns, CLASSES))
    scores = (rows - rows.mean(axis=0)) / rows.std(axis=0) @ weights
    return rows, np.argmax(scores, axis=1)


def trained(columns: int = COLUMNS) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(*training(columns))


def asked(rows: int = ASKED, columns: int = COLUMNS) -> np.ndarray:
    """Rows to predict for, none of them so near to a border that the last digits of another library could judge it otherwise."""
    candidates = inputs(2 * rows, columns, seed=1)
    likely = np.sort(trained(columns).predict_proba(candidates), axis=1)
    clear: np.ndarray = candidates[likely[:, -1] - likely[:, -2] > 0.01]
    assert len(clear) >= rows
    return clear[:rows]


if __name__ == "__main__":
    import joblib

    joblib.dump(trained(int(sys.argv[1])), sys.argv[2])
