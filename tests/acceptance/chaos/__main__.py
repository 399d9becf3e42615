"""`make chaos`: the long form."""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from postgres import postgres_server

from .runs import on_postgresql, on_sqlite
from .verdict import Verdict


def on_new_postgresql(folder: Path, *, jobs: int, kills: int, seed: int) -> Verdict:
    with postgres_server() as postgres, postgres.database() as url:
        return on_postgresql(folder, url, jobs=jobs, kills=kills, seed=seed)


RUNS = {"sqlite": on_sqlite, "postgresql": on_new_postgresql}


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
        folder = Path(tempfile.mkdtemp(prefix="modelwire-chaos-"))
        verdict = RUNS[run](folder, jobs=arguments.jobs, kills=arguments.kills, seed=arguments.seed)
        verdict.show()
        if verdict.is_good:
            shutil.rmtree(folder)
        else:
            good = False
            print(f"logs and data: {folder}\n", flush=True)
    sys.exit(not good)


main()
