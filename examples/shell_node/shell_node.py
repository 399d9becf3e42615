"""A regression in JavaScript; Node needs no package for it.

modelwire serve examples/shell_node/shell_node.py:runner
"""

from pathlib import Path

from pydantic import Field

from modelwire_runners import BaseConfig, PeriodType, RunnerInfo, ShellModelRunner


class Config(BaseConfig):
    """What can be chosen for a training; train.mjs reads it from config.yml."""

    ridge: float = Field(default=0.1, ge=0, description="Strength of the regularization.")


runner = ShellModelRunner(
    train_command="node train.mjs {data_file}",
    predict_command="node predict.mjs {future_file} {output_file}",
    config_schema=Config,
    info=RunnerInfo(
        id="shell-node",
        display_name="Monthly cases, JavaScript",
        description="Ridge regression on the weather, the season and the place.",
        period_type=PeriodType.MONTHLY,
        required_covariates=["rainfall", "mean_temperature"],
    ),
    project=Path(__file__).parent,
    prediction_columns=["sample_0"],
)
