"""What a job is asked to do, on its way into the job's process."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from ..artifacts.model import Blob, Origin
from ..jobs.model import JobKind
from .interface import JobSpec

# In a job's folder: what a script works in.
FOLDER = "workspace"


def part_name(digest: str) -> str:
    """What a file of a workspace is called among the parts that a job gets."""
    return digest.rpartition(":")[2]


def write_spec(spec: JobSpec) -> int:
    """The descriptor of a file in memory that holds the spec; it may be of any size."""
    fd = os.memfd_create("job")
    with open(fd, "w", closefd=False, encoding="utf-8") as file:
        file.write(json.dumps(asdict(spec), default=str))
    return fd


def read_spec(fd: int) -> JobSpec:
    """The spec behind a descriptor, which is closed."""
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, encoding="utf-8") as file:
        data = json.load(file)
    data["kind"] = JobKind(data["kind"])
    data["frames"] = {role: Path(path) for role, path in data["frames"].items()}
    for name in ("folder", "geo", "model", "parts"):
        data[name] = data[name] and Path(data[name])
    data["model_blob"] = data["model_blob"] and Blob(**data["model_blob"])
    data["model_origin"] = Origin(data["model_origin"])
    return JobSpec(**data)
