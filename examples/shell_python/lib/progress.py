"""Tells modelwire how a script gets on. Where none listens it does nothing: a script works by hand as well."""

import json
import os
from pathlib import Path


def report(**fields: object) -> None:
    """A line of JSON: report(progress=0.5, message="half way"), report(metric="rmse", value=1.2, step=3) or report(log="few rows")."""
    path = os.environ.get("MODELWIRE_PROGRESS_FILE")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(fields) + "\n")
