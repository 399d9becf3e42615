"""The constellations that have to hold."""

import uuid
from pathlib import Path

from serving import RUNNERS, ServerProcess

from .storm import Service, Storm
from .verdict import Verdict, judge

TARGETS = [f"{RUNNERS / 'turbulent.py'}:runner"]


def on_sqlite(folder: Path, *, jobs: int, kills: int, seed: int) -> Verdict:
    """One server with its database and content in its folder."""
    mark = uuid.uuid4().hex
    with ServerProcess(*TARGETS, data_dir=folder / "data", chaos_mark=mark) as server:
        storm = Storm(Service([server]), jobs=jobs, kills=kills, seed=seed)
        storm.rage()
        title = f"SQLite, one server: {jobs} jobs, {kills} kills, {storm.seconds:.0f} s, seed {seed}"
        return judge(storm, title, blobs=folder / "data" / "blobs", mark=mark)
