"""Runners whose scripts do what their config tells them to: every way in which a script can go right or wrong."""

from pathlib import Path

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
