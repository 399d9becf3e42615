"""Runners whose predictions, or scores, are of different kinds."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunnerInfo


def train(config: BaseConfig, data: Any) -> Any:
    raise NotImplementedError("jobs are not run here")


def predict_both(config: BaseConfig, model: int, historic: pa.Table, future: pa.Table) -> pa.Table:
    whole = pc.multiply(future.column("x"), model)
    return future.append_column("half", pc.divide(whole, 2)).append_column("whole", whole)


def predict_odds(config: BaseConfig, model: int, historic: pa.Table, future: pa.Table) -> pa.Table:
    high = future.column("x")
    return pa.table({"high": high, "low": pc.subtract(1.0, high), "none": pc.multiply(high, 0.0)})


def own_scores(config: BaseConfig, model: int, data: pa.Table) -> Any:
    if "fail" in data.column_names:
        raise ValueError("told to fail")
    if "single" in data.column_names:
        return 1
    return {"factor": float("nan") if "nan" in data.column_names else model, "rows": data.num_rows}


def runner(name: str, predict: Any, target: str, **hooks: Any) -> FunctionalModelRunner:
    return FunctionalModelRunner(train, predict, info=RunnerInfo(id=name), target_columns=[target], **hooks)


both = runner("both", predict_both, "truth")
odds = runner("odds", predict_odds, "kind")
own = runner("own", predict_both, "truth", on_score=own_scores)
