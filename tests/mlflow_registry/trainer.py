"""Trains models and registers them in MLflow, as a team would that uses it. Runs in the environment of the MLflow server.

It reads orders, a line of JSON each - `{"do": FUNCTION, ...its arguments}` - and answers each with a line.
"""

import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import mlflow
import onnx
import pandas as pd
from sklearn.dummy import DummyRegressor

warnings.simplefilter("ignore")
ROWS = pd.DataFrame({"x": [1.0, 2.0]})
client = mlflow.MlflowClient()


def train(name: str, value: float, format: str = "skops", signed: bool = True) -> str:
    """A model that predicts a value, whatever it is asked; returns its version."""
    model = DummyRegressor(strategy="constant", constant=value).fit(ROWS, ROWS["x"])
    signature = mlflow.models.infer_signature(ROWS, pd.DataFrame({"prediction": [value]})) if signed else None
    with mlflow.start_run():
        mlflow.log_metric("rmse", value)
        info = mlflow.sklearn.log_model(
            model, name="model", signature=signature, serialization_format=format, pip_requirements=[], registered_model_name=name
        )
    return str(info.registered_model_version)


def register_onnx(name: str, file: str) -> str:
    """A graph that was exported elsewhere; MLflow puts its weights into files of their own."""
    with mlflow.start_run():
        info = mlflow.onnx.log_model(onnx.load(file), name="model", pip_requirements=[], registered_model_name=name)
    return str(info.registered_model_version)


def register_function(name: str, value: float) -> str:
    """A model in Python, which MLflow keeps as a pickle."""

    class Constant(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> list[float]:
            return [value] * len(model_input)

    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(name="model", python_model=Constant(), pip_requirements=[], registered_model_name=name)
    return str(info.registered_model_version)


def register_files(name: str, description: str, content: dict[str, str]) -> str:
    """Any files, in hexadecimal, with any description of them: what somebody who may write to MLflow can put there."""
    with mlflow.start_run() as run, tempfile.TemporaryDirectory() as folder:
        Path(folder, "MLmodel").write_text(description)
        for file, data in content.items():
            Path(folder, file).write_bytes(bytes.fromhex(data))
        mlflow.log_artifacts(folder, "model")
    return register_source(name, f"runs:/{run.info.run_id}/model", run.info.run_id)


def register_source(name: str, source: str, run_id: str) -> str:
    try:
        client.create_registered_model(name)
    except mlflow.MlflowException:
        client.get_registered_model(name)
    artifacts = client.get_run(run_id).info.artifact_uri + "/" + source.rpartition("/")[2]
    return str(client.create_model_version(name, artifacts, run_id).version)


def set_alias(name: str, alias: str, version: str) -> None:
    client.set_registered_model_alias(name, alias, version)


def set_stage(name: str, version: str, stage: str) -> None:
    client.transition_model_version_stage(name, version, stage, archive_existing_versions=stage == "Production")


def delete(name: str) -> None:
    client.delete_registered_model(name)


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(globals()[order.pop("do")](**order)), file=answers, flush=True)


main()
