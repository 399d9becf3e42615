"""Adds the column sample_0, the cases to be expected."""

import argparse
import pickle
from pathlib import Path

import pandas as pd
from lib.features import features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--future", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    trees = pickle.loads(Path("model.pickle").read_bytes())
    future = pd.read_csv(arguments.future)
    inputs = features(future).reindex(columns=trees.feature_names_in_, fill_value=0)
    future["sample_0"] = trees.predict(inputs).clip(0)
    future.to_csv(arguments.output, index=False)


if __name__ == "__main__":
    main()
