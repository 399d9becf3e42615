"""The example with arrays of numpy."""

from pathlib import Path

import pyarrow as pa

from modelwire_runners import RunContext, check_runner, load_runner
from modelwire_runners.frames import FrameLibrary, library_wanted
from modelwire_runners.invoke import run_predict, run_train

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_it_knows_the_growers_of_wines_that_it_never_saw() -> None:
    runner = load_runner(f"{EXAMPLES / 'wine.py'}:runner")
    from wine import TARGET, load_frames

    seen, unseen = load_frames()
    data = pa.Table.from_pandas(seen)
    future = pa.Table.from_pandas(unseen.drop(columns=TARGET))
    assert check_runner(runner, data, future) == []
    assert library_wanted(runner.function("on_predict"), "future") is FrameLibrary.NUMPY
    model = run_train(runner, {"strength": 0.5}, data, None, RunContext())
    found = run_predict(runner, {}, model, future.slice(0, 0), future, None, RunContext()).to_pandas()
    assert (found.idxmax(axis=1) == unseen[TARGET]).mean() > 0.9
    assert (abs(found.sum(axis=1) - 1) < 1e-9).all()
