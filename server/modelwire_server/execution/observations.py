"""What the runner's own Prometheus metrics have seen during a job, for the server, whose copies of them have seen nothing of it.

Only what a runner has imported itself is looked at: this module imports no prometheus_client.
"""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = "observations.json"
# Their samples only grow, so that what a job adds to them can be added elsewhere; of the others the last value counts.
CUMULATIVE = ("counter", "histogram", "summary")
# Metrics of the process itself, which the server has of its own.
_OWN = ("process_", "python_")

# The value of each sample, by its name and labels.
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@contextlib.contextmanager
def observed(folder: Path) -> Iterator[None]:
    """Keeps what metrics have seen in the meantime as a file in the folder, also if the work fails."""
    before = {family.name: _samples(family) for family in _families()}
    try:
        yield
    finally:
        # Metrics are no reason to fail: they may raise, and the disk may be full.
        with contextlib.suppress(Exception):
            seen = [change for family in _families() if (change := _change(family, before.get(family.name, {})))]
            if seen:
                (folder / FILE).write_text(json.dumps(seen))


def _families() -> list[Any]:
    client = sys.modules.get("prometheus_client")
    if client is None:
        return []
    try:
        return [family for family in client.REGISTRY.collect() if not family.name.startswith(_OWN)]
    except Exception:
        return []


def _samples(family: Any) -> Samples:
    found = {(one.name, tuple(one.labels.items())): float(one.value) for one in family.samples}
    if family.type in CUMULATIVE:
        return {key: value for key, value in found.items() if not key[0].endswith("_created")}
    return found


def _change(family: Any, before: Samples) -> dict[str, Any] | None:
    """A family whose samples have changed: what was added to them, or what they are now."""
    after = _samples(family)
    if after == before:
        return None
    if family.type in CUMULATIVE:
        after = {key: value - before.get(key, 0.0) for key, value in after.items()}
    samples = [[name, dict(labels), value] for (name, labels), value in after.items()]
    return {"name": family.name, "type": family.type, "help": family.documentation, "samples": samples}
