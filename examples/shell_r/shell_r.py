"""A regression in R: `lm`, kept with `saveRDS`.

modelwire serve examples/shell_r/shell_r.py:runner

Needs R and its package yaml; on Debian r-base-core and r-cran-yaml.
"""

from pathlib import Path

from pydantic import Field

from modelwire_runners import BaseConfig, PeriodType, RunnerInfo, ShellModelRunner


class Config(BaseConfig):
    """What can be chosen for a training; train.R reads it from config.yml."""

    features: list[str] = Field(default=["rainfall", "mean_temperature"], min_length=1)


runner = ShellModelRunner(
    train_command="Rscript train.R {data_file}",
    predict_command="Rscript predict.R {future_file} {output_file}",
    config_schema=Config,
    info=RunnerInfo(
        id="shell-r",
        display_name="Monthly cases, R",
        description="Linear regression on the weather, the season and the place.",
        period_type=PeriodType.MONTHLY,
        required_covariates=["rainfall", "mean_temperature"],
    ),
    project=Path(__file__).parent,
    prediction_columns=["sample_0"],
)
