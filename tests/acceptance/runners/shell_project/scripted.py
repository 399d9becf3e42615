"""A runner whose scripts do what their config tells them to: every way in which a script can go right or wrong."""

from pathlib import Path

from modelwire_runners import BaseConfig, RunnerInfo, ShellModelRunner


class Config(BaseConfig):
    behaviour: str = "mean"
    predicting: str = "mean"
    gate: str = ""


runner = ShellModelRunner(
    train_command="sh train.sh {data_file} '{geo_file}'",
    predict_command="sh predict.sh {historic_file} {future_file} {output_file} '{geo_file}'",
    config_schema=Config,
    info=RunnerInfo(id="scripted", display_name="Scripted"),
    project=Path(__file__).parent,
    prediction_columns=["sample_0"],
)
