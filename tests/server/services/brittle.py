"""A runner whose models are paths of files: what is in them is what they predict. A model breaks with its file, and hangs with a pipe."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from modelwire_runners import FunctionalModelRunner, RunnerInfo


def train(config: Any, data: Any) -> str:
    raise NotImplementedError("jobs are not run here")


def predict(config: Any, model: str, historic: pa.Table, future: pa.Table) -> pa.Table:
    return pa.table({"y": [float(Path(model).read_text())] * future.num_rows})


runner = FunctionalModelRunner(train, predict, info=RunnerInfo(id="brittle"))
