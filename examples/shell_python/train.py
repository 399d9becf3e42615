"""Fits boosted trees and saves them as model.pickle."""

import argparse
import pickle
from pathlib import Path

import pandas as pd
import yaml
from lib.features import features
from lib.progress import report
from sklearn.ensemble import GradientBoostingRegressor

ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()

    config = yaml.safe_load(Path("config.yml").read_text())
    data = pd.read_csv(arguments.data).dropna(subset=["disease_cases"])
    inputs, cases = features(data), data["disease_cases"]
    trees = GradientBoostingRegressor(learning_rate=config["learning_rate"], warm_start=True, random_state=0)
    for number in range(1, ROUNDS + 1):
        trees.set_params(n_estimators=max(1, config["trees"] * number // ROUNDS)).fit(inputs, cases)
        report(metric="rmse", value=float(trees.train_score_[-1] ** 0.5), step=trees.n_estimators)
        report(progress=number / ROUNDS, message=f"{trees.n_estimators} trees")
    Path("model.pickle").write_bytes(pickle.dumps(trees))
    print(f"fitted {trees.n_estimators} trees to {len(data)} rows")


if __name__ == "__main__":
    main()
