"""Runners whose project has large assets: copied into every workspace, or shared by all of them."""

from pathlib import Path

from modelwire_runners import BaseConfig, RunnerInfo, ShellModelRunner


class Config(BaseConfig):
    behaviour: str = "learn"


def with_assets(id: str, shared: tuple[str, ...]) -> ShellModelRunner:
    return ShellModelRunner(
        train_command="sh train.sh",
        predict_command="cp {future_file} {output_file}",
        config_schema=Config,
        info=RunnerInfo(id=id),
        project=Path(__file__).parent,
        shared=shared,
    )


copied = with_assets("copied", ())
shared = with_assets("shared", ("assets/",))
