"""`make chaos`: the long form."""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from .runs import on_sqlite

RUNS = {"sqlite": on_sqlite}


def main() -> None:
    parser = argparse.ArgumentParser(prog="chaos", description="Kills servers at work, then counts what was kept.")
    parser.add_argument("runs", nargs="*", default=list(RUNS), metavar="RUN", help=f"what to run: {', '.join(RUNS)}")
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="makes the same plan again")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    good = True
    for run in arguments.runs:
        with tempfile.TemporaryDirectory(prefix="modelwire-chaos-") as folder:
            verdict = RUNS[run](Path(folder), jobs=arguments.jobs, kills=arguments.kills, seed=arguments.seed)
        verdict.show()
        good = good and verdict.is_good
    sys.exit(not good)


main()
