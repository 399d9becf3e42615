"""Runners whose command comes with the config: `do` is a line for the shell."""

from pathlib import Path

from modelwire_runners import RunnerInfo, RunnerLimits, ShellModelRunner

LINE = "sed -n 's/^do: //p' config.yml > line.sh; . ./line.sh"


def scripted(name: str, **limits: object) -> ShellModelRunner:
    return ShellModelRunner(
        LINE,
        LINE,
        info=RunnerInfo(id=name),
        limits=RunnerLimits(**limits),  # type: ignore[arg-type]
        shared=("assets/",),
        prediction_columns=["sample_0"],
        project=Path(__file__).parent,
    )


scripts = scripted("scripts")
small = scripted("small", workspace_bytes=100_000, output_bytes=1_000)
hungry = scripted("hungry", memory_bytes=60_000_000)
busy = scripted("busy", cpu_seconds=1)
poor = scripted("poor", environment=["PATH"])
