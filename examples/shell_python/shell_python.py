"""A regression as two Python scripts, that could be anybody's: they know files, not modelwire.

modelwire serve examples/shell_python/shell_python.py:runner
"""

import shlex
import sys
from pathlib import Path

from pydantic import Field

from modelwire_runners import BaseConfig, PeriodType, RunnerInfo, ShellModelRunner


class Config(BaseConfig):
    """What can be chosen for a training; train.py reads it from config.yml."""

    trees: int = Field(default=100, ge=1, le=2000)
    learning_rate: float = Field(default=0.05, gt=0, le=1)


# The Python that serves, whatever is first in PATH.
PYTHON = shlex.quote(sys.executable)

runner = ShellModelRunner(
    train_command=PYTHON + " train.py --data {data_file}",
    predict_command=PYTHON + " predict.py --future {future_file} --output {output_file}",
    config_schema=Config,
    info=RunnerInfo(
        id="shell-python",
        display_name="Monthly cases, Python scripts",
        description="Boosted trees on the weather, the season and the place.",
        period_type=PeriodType.MONTHLY,
        required_covariates=["rainfall", "mean_temperature"],
    ),
    project=Path(__file__).parent,
    prediction_columns=["sample_0"],
)
