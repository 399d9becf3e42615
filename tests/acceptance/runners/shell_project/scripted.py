"""Runners whose scripts do what their config tells them to: every way in which a script can go right or wrong."""

from pathlib import Path

from pydantic import Field

from modelwire_runners import BaseConfig, RunnerInfo, RunnerLimits, ShellModelRunner


class Config(BaseConfig):
    behaviour: str = "mean"
    predicting: str = "mean"
    gate: str = ""
    n_lags: int = 3


def scripted(id: str, limits: RunnerLimits) -> ShellModelRunner:
    return ShellModelRunner(
        train_command="sh train.sh {data_file} '{geo_file}'",
        predict_command="sh predict.sh {historic_file} {future_file} {output_file} '{geo_file}'",
        config_schema=Config,
        info=RunnerInfo(id=id),
        limits=limits,
        project=Path(__file__).parent,
        prediction_columns=["sample_0"],
    )


runner = scripted("scripted", RunnerLimits())
limited = scripted(
    "limited",
    RunnerLimits(workspace_bytes=2_000_000, output_bytes=20_000, environment=["PATH", "GIVEN_*"], memory_bytes=300_000_000),
)


class AliasedConfig(BaseConfig):
    lags: int = Field(default=3, alias="n-lags")
    behaviour: str = "mean"


nested = ShellModelRunner(
    train_command="cp {data_file} seen.csv; cp {config_file} told.yml",
    predict_command="cp {future_file} {output_file}",
    config_schema=AliasedConfig,
    info=RunnerInfo(id="nested"),
    config_format="chap_core",
    adapters={"where": "place", "y": "year", "m": "month"},
    project=Path(__file__).parent,
)
