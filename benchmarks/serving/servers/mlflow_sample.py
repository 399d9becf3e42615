"""Saves the sample model as MLflow's server reads it. `python mlflow_sample.py <columns> <folder>`."""

import sys
from pathlib import Path

import mlflow.sklearn

sys.path.insert(0, str(Path(__file__).parents[1]))

from sample import trained

mlflow.sklearn.save_model(trained(int(sys.argv[1])), sys.argv[2], pip_requirements=[], serialization_format="cloudpickle")
