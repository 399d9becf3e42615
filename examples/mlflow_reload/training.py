"""Trains a model whenever data arrive in a folder, and registers it in MLflow, where servers that follow it find it.

Needs mlflow and scikit-learn. MLFLOW_TRACKING_URI says where MLflow is.

    python training.py incoming --model Cases --target disease_cases --alias champion
"""

import argparse
import time
from pathlib import Path

import mlflow
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def train(data: Path, model: str, target: str) -> str:
    """Fits all columns of numbers to the target, and returns the version that MLflow gives to the result."""
    rows = pd.read_csv(data).select_dtypes("number").dropna()
    # Numbers that happen to be whole here need not be so in what is to be predicted.
    features, known = rows.drop(columns=target).astype(float), rows[target]
    estimator = make_pipeline(StandardScaler(), Ridge())
    with mlflow.start_run():
        scores = cross_val_score(estimator, features, known, scoring="neg_root_mean_squared_error")
        mlflow.log_metric("rmse", -scores.mean())
        estimator.fit(features, known)
        signature = mlflow.models.infer_signature(features, estimator.predict(features))
        # As skops, which runs no code when it is read.
        made = mlflow.sklearn.log_model(
            estimator,
            name="model",
            signature=signature,
            serialization_format="skops",
            pip_requirements=["scikit-learn", "skops"],
            registered_model_name=model,
        )
    return str(made.registered_model_version)


def wait_for_data(folder: Path) -> Path:
    """The next file that is there as a whole: whoever brings it gives it its name in the end."""
    while not (found := sorted(folder.glob("*.csv"))):
        time.sleep(1)
    return found[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a folder to wait for files in, or one file to train on")
    parser.add_argument("--model", required=True, help="its name in MLflow")
    parser.add_argument("--target", required=True, help="the column to be predicted")
    parser.add_argument("--alias", help="an alias that is to point to what was trained; without, somebody decides")
    wanted = parser.parse_args()
    while True:
        file = wait_for_data(wanted.data) if wanted.data.is_dir() else wanted.data
        version = train(file, wanted.model, wanted.target)
        if wanted.alias:
            mlflow.MlflowClient().set_registered_model_alias(wanted.model, wanted.alias, version)
        print(f"{wanted.model}/{version} is trained on {file.name}", flush=True)
        if file == wanted.data:
            return
        done = wanted.data / "done"
        done.mkdir(exist_ok=True)
        file.replace(done / file.name)


if __name__ == "__main__":
    main()
